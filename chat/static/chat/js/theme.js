// Runs before the first paint, so that a chosen theme does not flash. Not a module: those come too late.
try {
  const theme = localStorage.getItem("jarvis.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // forbidden: the system's theme
}
