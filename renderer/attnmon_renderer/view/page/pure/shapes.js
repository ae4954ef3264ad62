/** What the server's answers look like. */

/**
 * @typedef {object} RunLine a run in the list of runs
 * @property {string} id
 * @property {string} title
 * @property {string} directory
 * @property {string} state
 * @property {boolean} alive
 * @property {number | null} step
 * @property {number | null} loss
 * @property {number | null} updated seconds since 1970
 * @property {number} captures
 * @property {number} alerts
 * @property {number[] | null} ranks
 */

/**
 * @typedef {object} CaptureLine a capture in a run
 * @property {string} c its key in addresses
 * @property {number} step
 * @property {string} folder
 * @property {number | null} epoch
 * @property {boolean} maps whether there are maps to draw
 * @property {string[]} pictures file names
 */

/**
 * @typedef {object} Alert
 * @property {string} id
 * @property {string} rule
 * @property {"info" | "warn" | "error"} severity
 * @property {"firing" | "resolved"} state
 * @property {number} step
 * @property {string | null} role
 * @property {number | null} layer
 * @property {number[] | null} heads
 * @property {string} text
 * @property {string} [try]
 */

/**
 * @typedef {object} LayerLine a layer of a run
 * @property {string} stem
 * @property {string} role
 * @property {number} layer
 * @property {string} type
 * @property {number | null} heads
 * @property {string | null} name
 * @property {string | null} source
 * @property {string} note
 */

/**
 * @typedef {object} Run
 * @property {string} id
 * @property {string} title
 * @property {string} state
 * @property {boolean} alive
 * @property {Record<string, any>} summary
 * @property {Record<string, any>} run
 * @property {LayerLine[]} layers
 * @property {CaptureLine[]} captures
 * @property {Alert[]} alerts
 * @property {string[]} damages
 * @property {string[]} [troubles]
 * @property {string | null} cursor captures that are noticed later are new
 */

/**
 * @typedef {object} MapsOnly
 * @property {string} stem
 * @property {string} module
 * @property {number[]} heads their numbers
 * @property {string} note
 * @property {number | null} sampled
 * @property {number} non_finite
 * @property {number[]} missing heads of which nothing was recorded
 * @property {number[]} scale largest weight of each head
 * @property {number} thumbs_at where its small maps begin among those of all layers
 * @property {[number, number, number]} thumbs_shape heads, rows, columns
 * @property {string} allowed base64
 * @property {number[]} allowed_shape
 */

/** @typedef {import("./cells.js").Grid & MapsOnly} LayerMaps the maps of a layer */

/**
 * @typedef {object} Capture the index of a capture
 * @property {string} c
 * @property {number} step
 * @property {number | null} epoch
 * @property {number | null} loss
 * @property {{encoder: string[], decoder: string[]} | null} tokens
 * @property {LayerMaps[]} layers
 * @property {string[]} pictures
 * @property {string[]} [damages] what of the maps is left out, and why
 */

/**
 * @typedef {object} Codes cells of one map or several
 * @property {Uint8Array} data
 * @property {number[]} shape
 * @property {number} scale
 * @property {number[] | null} received mean weight that the keys of a column get
 * @property {number[] | null} strongest position of the key that each row attends to most
 */

/**
 * @typedef {object} NumberRow a number in both runs
 * @property {string} role
 * @property {number} layer
 * @property {number | null} head null for a number of the layer as a whole
 * @property {string} statistic
 * @property {number | null} a
 * @property {number | null} b
 * @property {number | null} delta
 * @property {number | null} [wobble] how much it moves by itself
 * @property {number | null} [times] how many wobbles the difference is
 */

/**
 * @typedef {object} RunInfo
 * @property {string} name
 * @property {string} state
 * @property {number} captures
 * @property {number | null} step
 * @property {number | null} loss
 */

/**
 * @typedef {object} CurvePair one quantity in both runs: points [x, y]
 * @property {string} quantity
 * @property {string} [role]
 * @property {number} [layer]
 * @property {[number, number][]} a
 * @property {[number, number][]} b
 */

/**
 * @typedef {object} Comparison
 * @property {boolean} comparable
 * @property {string[]} why
 * @property {Record<string, [any, any]>} settings
 * @property {string} verdict
 * @property {string} reason
 * @property {string} meaning
 * @property {"step" | "loss" | "end"} align
 * @property {number | null} at
 * @property {RunInfo[]} a
 * @property {RunInfo[]} b
 * @property {CurvePair[]} curves
 * @property {string[]} damages
 * @property {NumberRow[]} layers
 * @property {Matching | null} matching
 */

/**
 * @typedef {object} Matching how far maps are apart, in bits
 * @property {[number, number]} steps
 * @property {boolean} at_least whether the distances are lower bounds
 * @property {number | null} numbered
 * @property {number | null} matched
 * @property {number | null} wobble
 * @property {number} heads
 * @property {number} moved
 * @property {MatchedLayer[]} layers
 */

/**
 * @typedef {object} MatchedLayer
 * @property {string} role
 * @property {number} layer
 * @property {{a: number, b: number, distance: number | null, numbered: number | null}[]} heads
 */

/**
 * @typedef {object} Packed what a document has of a layer's maps: which mask, and where its codes lie
 * @property {number} mask
 * @property {number} at
 * @property {number} length
 */

/** @typedef {Omit<LayerMaps, "allowed"> & Packed} PackedMaps */
/** @typedef {Omit<Capture, "tokens" | "layers"> & {text: number, layers: PackedMaps[]}} PackedCapture */

/**
 * @typedef {object} Inlined the answers in a document, by what the server would be asked
 * @property {Record<string, string>} answers
 * @property {Record<string, PackedCapture>} captures
 * @property {({encoder: string[], decoder: string[]} | null)[]} texts of which a capture names one
 * @property {string[]} masks base64
 */

export {};
