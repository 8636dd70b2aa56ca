# A browser for the server's pages. Nothing runs: tests start it, headless, through playwright.

# In the index too: a checkout that knows no browser leaves it out when it writes that.
status_browser() { command -v chromium >/dev/null && grep -qs '^"browser"' "$STATE/services.json"; }

install_browser() { apt_install chromium; }

start_browser() { echo "{\"program\": \"$(command -v chromium)\"}" >"$STATE/run/browser.json"; }

stop_browser() { true; }
