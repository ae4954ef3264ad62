/** The statistics of a head, and what they are called. */

/** @type {Record<string, string>} */
export const STATISTICS = {
  entropy: "entropy",
  effective_keys: "effective keys",
  max_logit: "largest logit",
  first_token: "weight of the first token",
  diagonal: "weight of the own position",
  distance: "mean distance",
};
