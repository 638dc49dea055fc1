// Runs the audit of the npm package graphql-http against a server, and prints what came of each check as JSON.
// Usage: node audit.mjs URL KEY
import { auditServer } from 'graphql-http';

const [url, key] = process.argv.slice(2);
const results = await auditServer({
  url,
  fetchFn: (target, init) => fetch(target, { ...init, headers: { ...init?.headers, authorization: `Bearer ${key}` } }),
});
console.log(JSON.stringify(results.map(({ id, name, status, reason }) => ({ id, name, status, reason }))));
