// Check a bundle with @sigstore/verify: node sigstore_verify.mjs MODULES BUNDLE PUBLIC_KEY.pem KEY_ID [AUTHORITY.pem ROOT.pem]
import { createPublicKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, bundlePath, keyPath, keyId, ...authority] = process.argv.slice(2);
const require = createRequire(modules + "/");
const { bundleFromJSON } = require("@sigstore/bundle");
const { toSignedEntity, toTrustMaterial, Verifier } = require("@sigstore/verify");

const certificates = authority.map((path) => ({ rawBytes: new X509Certificate(readFileSync(path)).raw }));
const root = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
if (certificates.length) root.timestampAuthorities.push({ certChain: { certificates } });
const trusted = toTrustMaterial(root, (hint) => {
  if (hint !== keyId) throw new Error(`key not found: ${hint}`);
  return { publicKey: createPublicKey(readFileSync(keyPath)), validFor: () => true };
});
const options = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: certificates.length ? 1 : 0 };
const bundle = bundleFromJSON(JSON.parse(readFileSync(bundlePath)));
new Verifier(trusted, options).verify(toSignedEntity(bundle));
console.log("Verified:", bundle.content.dsseEnvelope.payloadType);
