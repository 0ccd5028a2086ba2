// The browsers that this package is tried in, and where they are.

import { existsSync } from "node:fs";

export const BROWSERS = {
  chromium: {
    host: "Chromium",
    variable: "CHROMIUM",
    places: ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"],
    install: "apt-get install chromium",
    // Containers rarely have what its own sandbox needs; only this folder's pages are opened.
    flags: (profile) => ["--headless=new", "--no-sandbox", "--no-first-run", `--user-data-dir=${profile}`],
  },
  firefox: {
    host: "Firefox",
    variable: "FIREFOX",
    places: ["/usr/bin/firefox", "/usr/bin/firefox-esr"],
    install: "apt-get install firefox-esr",
    flags: (profile) => ["--headless", "--no-remote", "--profile", profile],
  },
};

/** The program of a browser. Throws, with what to do about it, where there is none. */
export function findBrowser(name) {
  if (!Object.hasOwn(BROWSERS, name)) {
    throw new Error(`expected one of ${Object.keys(BROWSERS).join(", ")}, found ${name}`);
  }
  const { host, variable, places, install } = BROWSERS[name];
  const named = process.env[variable];
  const found = (named ? [named] : places).find((place) => existsSync(place));
  if (found === undefined) {
    const looked = named ?? places.join(", ");
    throw new Error(`no ${host} found: looked for ${looked}; install one (${install}) or name it in ${variable}`);
  }
  return found;
}
