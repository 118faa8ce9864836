/** Waits until the condition holds; fails after so long. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  { milliseconds = 15_000, message = 'the condition did not come true in time' } = {},
): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(message);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
