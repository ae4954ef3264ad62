/** Asks the server: relative addresses only, so that the page works below any prefix. */

/** @param {string} path below `api/v1/` @returns {Promise<Response>} */
export function answerTo(path) {
  return fetch(`api/v1/${path}`, { credentials: "same-origin" });
}
