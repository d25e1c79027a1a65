// The live socket: connects, reconnects by itself, takes messages apart, and knows how old a ping is.

/**
 * The header of a picture, as docs/live-socket.md has it.
 * @typedef {object} PictureHead
 * @property {"picture"} type
 * @property {string} sonar
 * @property {string} channel
 * @property {"fan" | "echogram"} kind
 * @property {number} frame
 * @property {number} ping
 * @property {number} time_s
 * @property {number} received_utc_s
 * @property {number} rows
 * @property {number} columns
 * @property {number} reduction
 * @property {number} db_min
 * @property {number} db_max
 * @property {number} low_db
 * @property {number} high_db
 * @property {string} quantity
 * @property {string} unit
 * @property {number} range_first_m
 * @property {number} range_last_m
 * @property {number[]} [range_m]
 * @property {number[]} bearing_rad
 * @property {number} beam_width_rad
 * @property {string} device
 * @property {number} frequency_hz
 * @property {number} sound_speed_m_s
 * @property {number} ping_interval_s
 * @property {Pose} [pose] of the sonar, as far as it tells
 */

/**
 * @typedef {object} Pose
 * @property {number} [latitude_deg]
 * @property {number} [longitude_deg]
 * @property {number} [depth_m]
 * @property {number} [heading_rad] clockwise from north
 */

/**
 * A picture: its cells row by row, the nearest row first.
 * @typedef {{head: PictureHead, bytes: Uint8Array<ArrayBuffer>}} Picture
 */

/**
 * @typedef {object} Track
 * @property {string} id
 * @property {"confirmed" | "coasting"} state
 * @property {number} x_m
 * @property {number} y_m
 * @property {number} z_m
 * @property {number} vx_m_s
 * @property {number} vy_m_s
 * @property {number} vz_m_s
 * @property {number} range_m
 * @property {number} bearing_rad
 * @property {number} elevation_rad
 * @property {number} speed_m_s
 * @property {number} strength_db
 * @property {boolean} calibrated
 * @property {number} hits
 * @property {number} first_time_s
 * @property {number} length_m
 * @property {number} width_m
 * @property {string} channel
 * @property {string[]} zones
 * @property {string} [label] what a classifier calls it so far
 * @property {number | null} [probability]
 */

/**
 * What is said of an ended track, as docs/integrators.md has it.
 * @typedef {object} TrackDescription
 * @property {string} id
 * @property {number} first_time_s
 * @property {number} last_time_s
 * @property {number} duration_s
 * @property {number} hits
 * @property {number} pings
 * @property {number | null} mean_speed_m_s
 * @property {number | null} peak_speed_m_s
 * @property {boolean | null} drifting
 * @property {number | null} path_m
 * @property {number | null} net_m
 * @property {number | null} min_range_m
 * @property {number | null} max_range_m
 * @property {number | null} min_bearing_deg
 * @property {number | null} max_bearing_deg
 * @property {number | null} heading_deg
 * @property {number | null} mean_length_m
 * @property {number | null} mean_width_m
 * @property {number} strength_db
 * @property {boolean} calibrated
 * @property {number} quality
 * @property {string} label
 * @property {number | null} probability
 * @property {{name: string, closest_m: number | null, inside_s: number}[]} zones
 */

/**
 * @typedef {object} TracksMessage
 * @property {"tracks"} type
 * @property {string} sonar
 * @property {string} channel
 * @property {number} frame
 * @property {number} ping
 * @property {number} time_s
 * @property {number} received_utc_s
 * @property {number} detections
 * @property {Track[]} tracks
 * @property {string[]} ended
 * @property {TrackDescription[]} [descriptions] of the ended ones
 */

/**
 * @typedef {object} Zone
 * @property {string} name
 * @property {string} kind
 * @property {boolean} enabled
 * @property {number} min_range_m
 * @property {number} max_range_m
 * @property {number} min_bearing_deg
 * @property {number} max_bearing_deg
 */

/**
 * One part of the appliance, as on the health page.
 * @typedef {{name: string, state: string, detail: string, last_error: string}} Part
 */

/** @typedef {{name: string, title: string, link: string, zones: Zone[], record?: boolean, clips?: boolean}} SonarState */

/**
 * What every page shows all the time; null: no part tells it.
 * @typedef {"" | "warn" | "bad"} Level
 * @typedef {object} Strip
 * @property {{free_bytes: number | null, left_s: number | null, level: Level} | null} disk
 * @property {{synchronised: boolean | null, error_s: number | null, level: Level} | null} clock
 * @property {{sonars: string[], lost_bytes: number, level: Level} | null} recording
 */

/**
 * What somebody must look at though nothing failed: a metric that crossed its threshold.
 * @typedef {{name: string, text: string, level: "warn" | "bad"}} Alarm
 */

/**
 * @typedef {object} StateMessage
 * @property {"state"} type
 * @property {boolean} ok
 * @property {number} time_s
 * @property {string[]} errors
 * @property {Part[]} parts
 * @property {SonarState[]} sonars
 * @property {number} picture_rate_hz
 * @property {number} viewers
 * @property {Alarm[]} [alarms]
 * @property {Strip} [strip]
 */

/**
 * The echo metrics of a time bin, of the whole column (layer 0) or a layer, as docs/integrators.md has them.
 * @typedef {{layer: number, start_s: number, end_s: number, pings: number, calibrated: boolean} & Record<string, number | null>} MetricsBin
 * @typedef {{type: "metrics", sonar: string, channel: string, bins: MetricsBin[]}} MetricsMessage
 */

/** @typedef {{type: "config", changes: string[], author: string}} ConfigMessage */
/** @typedef {{type: "hello", protocol: number, version: string, window: number}} HelloMessage */

const PROTOCOL = 1;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5000;
const SILENCE_MS = 5000; // the server says something every second

/**
 * Estimates how old a server time is by now, without trusting this computer's clock: the message that travelled
 * fastest sets the difference between the two clocks.
 */
export class ServerClock {
  #offsetS = Infinity;

  /**
   * Takes what the server's clock showed, and what this one shows.
   * @param {number} timeS
   * @param {number} nowS
   */
  heard(timeS, nowS) {
    const offset = nowS - timeS;
    // Creeps up by 0.1 ms a message, so that drifting clocks are followed; a clock that was set is followed at once.
    const creeping = this.#offsetS + 1e-4;
    this.#offsetS = offset < creeping || offset > creeping + 30 ? offset : creeping;
  }

  /**
   * @param {number} timeS of the server's clock
   * @param {number} nowS of this clock
   */
  age(timeS, nowS) {
    return Math.max(0, nowS - this.#offsetS - timeS);
  }
}

/**
 * Reads a picture message.
 * @param {ArrayBuffer} buffer
 * @returns {Picture}
 */
export function readPicture(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { head, bytes: new Uint8Array(buffer, 4 + length, head.rows * head.columns) };
}

/**
 * @typedef {object} Handlers
 * @property {(connected: boolean) => void} state
 * @property {(message: StateMessage | TracksMessage | MetricsMessage | ConfigMessage) => void} message
 * @property {(picture: Picture) => void} [picture] left out: none are wanted, and none are sent
 */

export class Connection {
  #handlers;
  /** @type {WebSocket | null} */
  #socket = null;
  #retryMs = FIRST_RETRY_MS;
  #lastHeard = 0;

  /** @param {Handlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#open();
    setInterval(() => this.#watch(), 1000);
    addEventListener("online", () => this.#socket || this.#open());
  }

  /**
   * Tells that a fan picture was drawn.
   * @param {string} sonar
   * @param {number} frame
   */
  seen(sonar, frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify({ type: "seen", sonar, frame }));
    }
  }

  #open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/livesocket?v=${PROTOCOL}${this.#handlers.picture ? "" : "&pictures=no"}`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#lastHeard = performance.now();
    socket.onmessage = ({ data }) => {
      this.#lastHeard = performance.now();
      if (data instanceof ArrayBuffer) {
        this.#handlers.picture?.(readPicture(data));
        return;
      }
      const message = JSON.parse(data);
      if (message.type === "hello") {
        this.#retryMs = FIRST_RETRY_MS;
        // A newer appliance may speak a newer protocol: its own page knows it.
        if (message.protocol !== PROTOCOL) location.reload();
        this.#handlers.state(true);
      } else {
        this.#handlers.message(message);
      }
    };
    socket.onclose = () => this.#closed(socket);
  }

  /** @param {WebSocket} socket */
  #closed(socket) {
    if (this.#socket !== socket) return;
    this.#socket = null;
    this.#handlers.state(false);
    setTimeout(() => this.#socket || this.#open(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 1.5, LONGEST_RETRY_MS);
  }

  #watch() {
    // A pulled cable closes nothing: silence is the only sign.
    if (this.#socket && performance.now() - this.#lastHeard > SILENCE_MS) {
      const silent = this.#socket;
      silent.onmessage = null;
      silent.close();
      this.#closed(silent);
    }
  }
}
