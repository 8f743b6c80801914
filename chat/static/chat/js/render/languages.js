/** What people call a language → its grammar's file in `vendor/highlight/languages/`, loaded when first needed. */

import hljs from "../../vendor/highlight/core.js";

const FILES = {
  bash: "sh shell zsh console shellsession",
  c: "h",
  cpp: "c++ cc cxx hpp",
  csharp: "cs c#",
  css: "",
  diff: "patch",
  dockerfile: "docker containerfile",
  go: "golang",
  graphql: "gql",
  haskell: "hs",
  ini: "toml cfg conf env dotenv",
  java: "",
  javascript: "js jsx mjs cjs node",
  json: "json5 jsonc jsonl",
  kotlin: "kt kts",
  lua: "",
  makefile: "make mk",
  markdown: "md mdx",
  nginx: "nginxconf",
  perl: "pl",
  php: "",
  powershell: "ps1 pwsh",
  python: "py python3 gyp ipython",
  r: "",
  ruby: "rb",
  rust: "rs",
  scala: "",
  scss: "sass less",
  sql: "sqlite postgresql postgres mysql",
  swift: "",
  typescript: "ts tsx mts cts",
  xml: "html xhtml svg rss vue svelte",
  yaml: "yml",
};
const NEEDS = { xml: ["css", "javascript"], markdown: ["xml"], php: ["xml"] };

const byName = new Map();
for (const [file, names] of Object.entries(FILES)) {
  for (const name of [file, ...names.split(" ").filter(Boolean)]) byName.set(name, file);
}
const loading = new Map();

/** The grammar's name, or null for a language we do not know. */
export function languageOf(label) {
  return byName.get(label.toLowerCase()) ?? null;
}

export function isLoaded(language) {
  return hljs.getLanguage(language) !== undefined;
}

/** Loads a grammar once; resolves when it can be used, rejects when its file cannot be had (and may be asked again). */
export function loadLanguage(language) {
  if (!loading.has(language)) loading.set(language, load(language));
  return loading.get(language);
}

async function load(language) {
  try {
    await Promise.all((NEEDS[language] ?? []).map(loadLanguage));
    const grammar = await import(`../../vendor/highlight/languages/${language}.js`);
    hljs.registerLanguage(language, grammar.default);
  } catch (error) {
    loading.delete(language);
    throw error;
  }
}
