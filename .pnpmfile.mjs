/**
 * query-api serves the built bundles of ReDoc and Swagger UI, which hold all that they need. What these packages declare beside them (React,
 * MobX, a reporter of installations) would be over a hundred packages that nothing imports.
 */
const bundled = ['redoc', 'swagger-ui-dist'];

export const hooks = {
  readPackage: (manifest) =>
    bundled.includes(manifest.name) ? { ...manifest, dependencies: {}, peerDependencies: {} } : manifest,
};
