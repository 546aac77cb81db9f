// Keys and tokens of an identity provider: writes its keys into the folder named first, and says the tokens as JSON.
import { createSecretKey, generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import jwt from 'jsonwebtoken';

const folder = process.argv[2];

function pair(name, type, options) {
  const { publicKey, privateKey } = generateKeyPairSync(type, options);
  writeFileSync(join(folder, `${name}.pem`), publicKey.export({ type: 'spki', format: 'pem' }));
  writeFileSync(join(folder, `${name}.private.pem`), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return { publicKey, privateKey };
}

const rsa = pair('rsa', 'rsa', { modulusLength: 2048 });
const other = pair('other', 'rsa', { modulusLength: 2048 });
const p256 = pair('p256', 'ec', { namedCurve: 'P-256' });
const p384 = pair('p384', 'ec', { namedCurve: 'P-384' });
const ed25519 = pair('ed25519', 'ed25519');
const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' });

const sign = (key, algorithm, options) => jwt.sign({ username: 'bob' }, key, { algorithm, expiresIn: 60, ...options });
// The library knows no EdDSA.
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const exp = Math.floor(Date.now() / 1000) + 60;
const unsigned = `${part({ alg: 'EdDSA', typ: 'JWT' })}.${part({ username: 'bob', exp })}`;
const signature = signBytes(null, Buffer.from(unsigned), ed25519.privateKey).toString('base64url');

const tokens = {
  RS256: sign(rsa.privateKey, 'RS256'),
  RS512: sign(rsa.privateKey, 'RS512'),
  PS256: sign(rsa.privateKey, 'PS256'),
  ES256: sign(p256.privateKey, 'ES256'),
  ES384: sign(p384.privateKey, 'ES384'),
  EdDSA: `${unsigned}.${signature}`,
  expired: sign(rsa.privateKey, 'RS256', { expiresIn: -10 }),
  foreign: sign(other.privateKey, 'RS256'),
  confused: sign(createSecretKey(Buffer.from(pem)), 'HS256'),
  trimmed: sign(createSecretKey(Buffer.from(pem.trim())), 'HS256'),
};
console.log(JSON.stringify(tokens));
