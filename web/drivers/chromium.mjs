// Chromium without a window, for drivers, tests and screenshots.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Starts it. Throws, with what to do about it, where there is none. */
export async function startChromium() {
  const executablePath = process.env.CHROMIUM ?? PLACES.find((place) => existsSync(place));
  if (executablePath === undefined || !existsSync(executablePath)) {
    throw new Error(
      `no Chromium found: looked for ${process.env.CHROMIUM ?? PLACES.join(", ")}; ` +
        "install one (apt-get install chromium) or name it in the variable CHROMIUM",
    );
  }
  // Containers rarely have what its own sandbox needs; only this folder's pages are opened.
  return chromium.launch({ executablePath, args: ["--no-sandbox"] });
}
