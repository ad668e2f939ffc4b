import { readdirSync, readFileSync } from 'node:fs';

interface Target {
  readonly datasource: { readonly uid: string };
  readonly rawSql?: string;
  readonly expr?: string;
}

interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly { readonly title: string; readonly targets: readonly Target[] }[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: string }[] };
}

const folder = new URL('../../deploy/grafana/dashboards/', import.meta.url);

export const dashboards = readdirSync(folder).map(
  (name) => JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as Dashboard,
);

/** Each query in SQL, with the panel or the variable that has it. */
export const sqlQueries: readonly [where: string, text: string][] = dashboards.flatMap(
  ({ title, panels, templating }) => [
    ...templating.list.map(({ name, query }): [string, string] => [`${title}, variable ${name}`, query]),
    ...panels.flatMap((panel) =>
      panel.targets.flatMap(({ rawSql }): [string, string][] =>
        rawSql === undefined ? [] : [[`${title}, ${panel.title}`, rawSql]],
      ),
    ),
  ],
);

export const expressions: readonly string[] = dashboards.flatMap(({ panels }) =>
  panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => expr ?? [])),
);
