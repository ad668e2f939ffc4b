export function findBrowser(env?: NodeJS.ProcessEnv): string | undefined;
export function installBrowser(): Promise<void>;
