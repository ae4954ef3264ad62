/** Says what went wrong, where people look. */

import { Refused } from "./server.js";
import { trouble } from "./store.js";

/**
 * Does what may fail, and says why it did; until the next that succeeds.
 * @template T
 * @param {() => Promise<T>} work
 */
export async function told(work) {
  try {
    const value = await work();
    trouble.value = "";
    return value;
  } catch (error) {
    const reason = error instanceof TypeError ? "the server does not answer" : String(error);
    trouble.value = error instanceof Refused ? error.message : reason;
    return undefined;
  }
}
