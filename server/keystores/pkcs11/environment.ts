/**
 * What a module may see of the service's environment: how to find files and speak to the person,
 * and the settings of modules that are known. Nothing of ours: no database address, no token.
 */
const passedOn = [
  'PATH',
  'HOME',
  'USER',
  'LOGNAME',
  'LANG',
  'LC_ALL',
  'TZ',
  'TMPDIR',
  // SoftHSM2
  'SOFTHSM2_CONF',
  // tpm2-pkcs11 and the way to the TPM
  'TPM2_PKCS11_STORE',
  'TPM2_PKCS11_TCTI',
  'TPM2_PKCS11_LOG_LEVEL',
  'DBUS_SYSTEM_BUS_ADDRESS',
  'DBUS_SESSION_BUS_ADDRESS',
  // OpenSC, p11-kit
  'OPENSC_CONF',
  'OPENSC_DRIVER',
  'P11_KIT_SERVER_ADDRESS',
  // Network HSMs: Thales Luna, Entrust nShield, Utimaco, AWS CloudHSM, YubiHSM
  'ChrystokiConfigurationPath',
  'NFAST_HOME',
  'NFAST_KMDATA',
  'CS_PKCS11_R2_CFG',
  'CS_PKCS11_R3_CFG',
  'CLOUDHSM_PKCS11_CONFIG',
  'YUBIHSM_PKCS11_CONF',
] as const;

/** The environment of the child: the list above, then what the keystore's settings name. */
export function childEnvironment(
  own: Readonly<NodeJS.ProcessEnv>,
  settings: Readonly<Record<string, string>>,
): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const name of passedOn) {
    const value = own[name];
    if (value !== undefined) environment[name] = value;
  }
  return { ...environment, ...settings };
}
