// A real OpenID Connect provider that lets in whoever gives a name; its pages for that are those it has for development.
// Whoever logs in as `as-eve-admin` has chosen the name `admin`; the subject is what they logged in as, always.
import Provider from "oidc-provider";

const [port] = process.argv.slice(2);
const claims = (id) => {
  const [, name] = id.match(/^as-[a-z0-9]+-(.+)$/) ?? [null, id];
  return { sub: id, preferred_username: name, name: `${name} of tests`, email: `${name}@example.test` };
};
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "tilth",
      client_secret: "a-secret-of-tests-that-is-long-enough",
      // Of an application on a machine: any port of loopback may be returned to (RFC 8252, section 7.3).
      application_type: "native",
      redirect_uris: ["http://127.0.0.1/api/v1/oidc/callback"],
      token_endpoint_auth_method: "client_secret_basic",
    },
  ],
  features: { devInteractions: { enabled: true } },
  claims: { openid: ["sub"], profile: ["preferred_username", "name"], email: ["email"] },
  pkce: { required: () => true },
  findAccount: async (context, id) => ({ accountId: id, claims: async () => claims(id) }),
});
provider.listen(Number(port), "127.0.0.1");
