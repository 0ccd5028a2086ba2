// Chromium without a window, steered by Playwright, for tests and screenshots.

import { chromium } from "playwright-core";
import { findBrowser } from "../drivers/browsers.mjs";

export async function startChromium() {
  return chromium.launch({ executablePath: findBrowser("chromium"), args: ["--no-sandbox"] });
}
