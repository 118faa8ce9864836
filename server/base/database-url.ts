/** More servers than a primary and its standbys would make every connection slow. */
export const databaseHostsMax = 8;

/**
 * The URLs of the single servers that a PostgreSQL URL names, in its order, as libpq reads it
 * (PostgreSQL 15, section 34.1.1.3): `postgresql://user@db1:5432,db2:5432/name?...` is `db1` and
 * `db2`, each with the rest of the URL. Undefined where it is not such a URL.
 */
export function splitDatabaseUrl(text: string): readonly string[] | undefined {
  const parts = /^(postgres(?:ql)?:\/\/(?:[^@/?#]*@)?)([^@/?#]*)([/?#].*)?$/s.exec(text);
  if (parts === null) return undefined;
  const [, start, hosts, rest = ''] = parts;
  const names = hosts!.split(',');
  if (names.length > databaseHostsMax) return undefined;
  const urls = names.map((name) => `${start}${name}${rest}`);
  const areAll = names.length === 1 || names.every((name) => name !== '');
  return areAll && urls.every((url) => URL.canParse(url)) ? urls : undefined;
}
