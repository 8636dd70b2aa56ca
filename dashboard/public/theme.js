// Before anything is painted: the theme that was chosen, else the system's.
try {
  const chosen = localStorage.getItem("tilth.theme");
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
} catch {
  document.documentElement.dataset.theme = "light";
}
