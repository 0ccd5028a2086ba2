// Server-sent events as they come over HTTP.

/** The data of each event of a response. A response that is no stream is one event. */
export async function* events(response) {
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
    yield await response.text();
    return;
  }
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const whole = (rest + text).split("\n\n");
    rest = whole.pop();
    for (const event of whole) yield event.replace(/^data: /, "");
  }
}
