// The answer that every host is asked for, and how fast it comes. Runs in Node and in a page.

const PROMPT = "Once upon a time";
const OPTIONS = { seed: 42, maxTokens: 64 };

/**
 * The fields of the line that a driver writes which depend on the model. The speed is the median of five answers after
 * the first one, in which the host still compiles.
 */
export async function measure(model) {
  const answers = [];
  for (let round = 0; round < 6; round++) {
    answers.push(await answer(model));
  }
  const [{ tokens, speed: first }, ...others] = answers;
  const speeds = others.map(({ speed }) => speed).sort((a, b) => a - b);
  return {
    build: model.build,
    tokens,
    tokens_per_second: Math.round(10 * speeds[2]) / 10,
    notes: `${model.threads} worker${model.threads === 1 ? "" : "s"}; first answer ${first.toFixed(0)} tokens/s`,
  };
}

async function answer(model) {
  const session = await model.session();
  await session.configure(OPTIONS);
  await session.feed(await model.tokenize(PROMPT));
  const tokens = [];
  const start = performance.now();
  for await (const { id } of session.tokens()) {
    tokens.push(id);
  }
  const seconds = (performance.now() - start) / 1000;
  await session.close();
  return { tokens, speed: tokens.length / seconds };
}
