import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';

/** What a server certificate speaks for. IP addresses are in the form that Node prints. */
export interface CertificateNames {
  readonly dns: readonly string[];
  readonly ip: readonly string[];
}

export interface NamesOf {
  /** The address listened on; the ones that mean "every address" are left out. */
  readonly listen: string;
  /** The name of the host; left out where it is no DNS name. */
  readonly hostname: string;
  /** DNS names and IP addresses from the configuration. */
  readonly configured: readonly string[];
}

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const dnsPattern = new RegExp(`^${label}(?:\\.${label})*$`);
const everyAddress: readonly string[] = ['0.0.0.0', '::'];

/** The loopback names, the host, the listen address and the configured names, each once. */
export function certificateNames({ listen, hostname, configured }: NamesOf): CertificateNames {
  const dns = new Set(['localhost']);
  const ip = new Set(['127.0.0.1', '::1']);
  for (const name of [listen, hostname, ...configured]) {
    if (isIP(name) !== 0) {
      const address = canonicalAddress(name);
      if (!everyAddress.includes(address)) ip.add(address);
      continue;
    }
    const ascii = domainToASCII(name).toLowerCase();
    if (ascii.length <= 253 && dnsPattern.test(ascii)) dns.add(ascii);
  }
  return { dns: [...dns], ip: [...ip] };
}

/** IPv6 addresses have many spellings; the URL parser knows the one of RFC 5952. */
function canonicalAddress(address: string): string {
  const [bare = ''] = address.split('%');
  return isIP(bare) === 6 ? new URL(`http://[${bare}]`).hostname.slice(1, -1) : bare;
}
