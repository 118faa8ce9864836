import type { Alert } from '../../api/alerts.ts';
import { plainText } from './sender.ts';

const valueLengthMax = 300;

/** What happened, in one line: for subjects and logs. */
export function headline(alert: Alert): string {
  const key = keyText(alert);
  const what = key ?? alert.resource;
  return plainText(what === undefined ? alert.title : `${alert.title}: ${what}`);
}

/** All there is to say of an alert, name and value, each in one line. */
export function factsOf(alert: Alert): readonly (readonly [name: string, value: string])[] {
  const { principalName, principalId, address, resource, correlationId, count } = alert;
  const facts: (readonly [string, string | undefined])[] = [
    ['kind', alert.kind],
    ['severity', alert.severity],
    ['time', alert.time],
    ['action', alert.action],
    ['outcome', alert.outcome],
    ['who', principalName ?? principalId],
    ['from', address],
    ['key', keyText(alert)],
    ['about', resource],
    ['times', count === undefined ? undefined : String(count)],
    ['installation', alert.installation],
    ['correlation', correlationId],
    ['entry', alert.id],
  ];
  return facts
    .filter((fact): fact is readonly [string, string] => fact[1] !== undefined)
    .map(([name, value]) => [name, plainText(value, valueLengthMax)] as const);
}

function keyText({ keyName, keyId, keyVersion }: Alert): string | undefined {
  const key = keyName ?? keyId;
  return key === undefined || keyVersion === undefined ? key : `${key}@${keyVersion}`;
}
