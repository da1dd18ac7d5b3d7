// Reads {jwksUrl, issuer, audience, algorithm, tokens} from stdin; prints the claims or the error code of each token.
import { createRemoteJWKSet, jwtVerify } from "jose";

let input = "";
for await (const chunk of process.stdin) input += chunk;
const { jwksUrl, issuer, audience, algorithm, tokens } = JSON.parse(input);

const keys = createRemoteJWKSet(new URL(jwksUrl));
const options = { issuer, audience, algorithms: [algorithm], typ: "at+jwt" };
const results = [];
for (const token of tokens) {
  try {
    results.push({ claims: (await jwtVerify(token, keys, options)).payload });
  } catch (error) {
    results.push({ error: error.code });
  }
}
console.log(JSON.stringify(results));
