/** The views of the dashboard that are one page each; `/devices/:id` and `/dead-letters/:id` are below theirs. */
export const dashboardViews = ['/devices', '/pipeline', '/dead-letters', '/explore', '/console', '/sign-in'] as const;

/** Its files with a hash in their names. */
export const dashboardAssets = '/assets';
