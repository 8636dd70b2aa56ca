// Three small forms: log in, choose a password by a link, and let a command line in.
try {
  // The theme that was chosen in the dashboard; else the system's.
  const theme = localStorage.getItem("tilth.theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // A browser that keeps nothing.
}

const form = (id) => document.getElementById(id);
const said = form("said");

function say(text, wrong = false) {
  said.textContent = text;
  said.className = wrong ? "wrong" : "";
}

async function ask(method, path, body) {
  const answer = await fetch(`/api/v1${path}`, {
    method,
    credentials: "same-origin",
    headers: { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const told = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) {
    const { summary, why, mend } = told.error;
    const sentences = [summary, why, mend].filter(Boolean).map((each) => `${each[0].toUpperCase()}${each.slice(1)}.`);
    throw Object.assign(new Error(sentences.join(" ")), { status: answer.status });
  }
  return told;
}

// What the server answers with when a login by the provider fails.
const FAILED = {
  denied: "The login was not granted.",
  expired: "That took too long, or was begun in another browser. Try again.",
  linked: "That login belongs to another user here.",
  provider: "Your organisation's login does not work at present. An admin finds the reason in the server's log.",
  taken: "There is a user of your name already. If that is you, log in with your password and link the two.",
  unknown: "You are no user of this server. Ask one of its admins.",
};

function show(id) {
  for (const each of document.querySelectorAll("form")) each.hidden = each.id !== id;
  form(id)?.querySelector("input")?.focus();
}

function onSubmit(id, work) {
  form(id).addEventListener("submit", async (event) => {
    event.preventDefault();
    const data = new FormData(form(id), event.submitter); // first: a disabled button says nothing in it
    const buttons = form(id).querySelectorAll("button");
    for (const each of buttons) each.disabled = true;
    try {
      await work(data);
    } catch (error) {
      say(error.message, true);
    }
    for (const each of buttons) each.disabled = false;
  });
}

async function begin() {
  const page = location.pathname;
  const failed = FAILED[new URLSearchParams(location.search).get("failed")];
  say(failed ?? "", true);
  if (page === "/invite") return show("invite");
  try {
    const me = await ask("GET", "/me");
    say(`${failed ? `${failed} ` : ""}You are logged in as ${me.user.name}.`, Boolean(failed));
    if (page === "/device") {
      show("device");
      const code = new URLSearchParams(location.search).get("code");
      if (code) {
        form("device").elements.code.value = code;
        const device = await ask("GET", `/device/${encodeURIComponent(code)}`);
        form("asks").textContent = `${device.client || "A machine"} wants to log in as ${me.user.name}. ` +
          "Let it in only if you started this yourself, and the code is the one it shows.";
      }
    } else if (next() && !failed) {
      location.replace(next());
    } else {
      show("me");
      form("link").hidden = !(await providers());
    }
  } catch (error) {
    if (error.status !== 401) return say(error.message, true);
    show("login");
    const code = page === "/device" && new URLSearchParams(location.search).get("code");
    if (code) form("oidc").querySelector("a").href += `?code=${encodeURIComponent(code)}`;
    else form("oidc").querySelector("a").href += `?next=${encodeURIComponent(next() ? asked() : "/")}`;
    form("oidc").hidden = !(await providers());
  }
}

async function providers() {
  return (await ask("GET", "/info")).login.includes("oidc");
}

onSubmit("login", async (data) => {
  await ask("POST", "/login", { name: data.get("name"), password: data.get("password"), client: "browser", cookie: true });
  if (location.pathname === "/login" && !asked()) return location.replace("/");
  await begin();
});

function asked() {
  return new URLSearchParams(location.search).get("next") ?? "";
}

// Where the login was asked for: a page of this server, or none.
function next() {
  const target = URL.canParse(asked(), location.origin) ? new URL(asked(), location.origin) : location;
  return asked().startsWith("/") && target.origin === location.origin ? target.href : "";
}

onSubmit("me", async () => {
  await ask("POST", "/logout");
  history.replaceState(null, "", "/login");
  await begin();
});

onSubmit("invite", async (data) => {
  if (data.get("password") !== data.get("again")) throw new Error("The two passwords differ.");
  // Behind the hash, so that no server or proxy writes the secret down.
  const secret = location.hash.slice(1);
  const made = await ask("POST", "/password", { secret, password: data.get("password") });
  history.replaceState(null, "", "/login");
  await ask("POST", "/login", { name: made.user, password: data.get("password"), client: "browser", cookie: true });
  location.replace("/setup");
});

onSubmit("device", async (data) => {
  const grant = data.get("grant") === "yes";
  await ask("POST", "/device/grant", { user_code: data.get("code"), grant });
  show("");
  say(grant ? "Done. The command line goes on by itself; you can close this page." : "Denied.");
});

begin();
