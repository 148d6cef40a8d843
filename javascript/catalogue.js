// What there is to know of each network, from one request: kept until the files, the settings or the model change.
"use strict";

window.hypernet ??= {};

window.hypernet.catalogue = (function () {
    const ROOT = "./hypernet/v1";
    const SOONEST = 1500; // milliseconds, while files are still being read
    const LATEST = 12000;
    const listeners = [];
    let networks = new Map();
    let order = [];
    let written = new Map(); // name -> its facts as JSON: what changed is seen by it
    let tag = null; // the list's ETag
    let wait = SOONEST;
    let timer = 0;

    /** Asks the server for the list; a list that did not change costs one short answer. */
    async function refresh() {
        const answer = await fetch(`${ROOT}/cards`, {headers: tag ? {"If-None-Match": tag} : {}});
        if (answer.status === 304 || !answer.ok) return;
        tag = answer.headers.get("ETag");
        order = await answer.json();
        networks = new Map(order.map((network) => [network.name, network]));
        const before = written;
        written = new Map(order.map((network) => [network.name, JSON.stringify(network)]));
        const changed = order.map(({name}) => name).filter((name) => written.get(name) !== before.get(name));
        listeners.forEach((listener) => listener(changed));
        clearTimeout(timer);
        const reading = order.some((network) => network.known === false);
        wait = reading ? Math.min(wait * 2, LATEST) : SOONEST;
        if (reading) timer = setTimeout(refresh, wait);
    }

    /** The facts of a network: {name, base, fits, problem, words, negative, strength, range, ...}; null if unknown. */
    const find = (name) => networks.get(name) ?? null;

    /** All of them, in the order of the page. */
    const all = () => order;

    /** Sends JSON; the server's own sentence is the error's message. */
    async function send(path, body) {
        const answer = await fetch(`${ROOT}/${path}`, {
            method: "POST",
            headers: {"Content-Type": "application/json"},
            body: JSON.stringify(body),
        });
        const told = await answer.json().catch(() => ({}));
        if (!answer.ok) throw new Error(told.detail ?? answer.statusText);
        return told;
    }

    return {all, find, refresh, send, whenChanged: (listener) => listeners.push(listener)};
})();
