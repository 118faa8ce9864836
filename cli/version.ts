export { version } from '../server/base/version.ts';
