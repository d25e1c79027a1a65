// What `/api/v1/health` tells.

/**
 * @typedef {object} Part
 * @property {string} name
 * @property {"starting" | "running" | "waiting" | "failed" | "stopped"} state
 * @property {string} detail
 * @property {number} since_utc_s
 * @property {number} restarts
 * @property {string} last_error
 * @property {number | null} last_error_utc_s
 * @property {string} warning
 * @property {Record<string, any>} statistics
 */

/**
 * @typedef {object} Subscriber
 * @property {string} name
 * @property {string} policy
 * @property {number} delivered
 * @property {number} dropped
 * @property {number} queued
 * @property {number} lag_s
 */

/** @typedef {{name: string, published: number, dropped: number, subscribers: Subscriber[]}} Bus */

/**
 * @typedef {object} Plugin
 * @property {string} name
 * @property {string} version
 * @property {string} origin
 * @property {Record<string, string[]>} hooks
 * @property {string} state
 * @property {string} error
 */

/**
 * @typedef {object} OwnHealth
 * @property {Part[]} parts
 * @property {string} version
 * @property {number} uptime_s
 * @property {string} data
 * @property {Record<string, string>} versions
 * @property {string[]} warnings
 * @property {Bus[]} buses
 * @property {Plugin[]} plugins
 * @property {number} profiles
 * @property {string[]} profile_errors
 * @property {string[]} notes
 * @property {Record<string, number>} log_counts
 *
 * @typedef {Omit<import("../shared/connection.js").StateMessage, "parts"> & OwnHealth} Health
 */

export {};
