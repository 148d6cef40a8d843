// The order of the cards beside the host's own: in the prompt, favourite and recently used ones first; and a filter
// that hides what was made for other models. What is chosen here, and the host's sorting, the browser remembers.
"use strict";

window.hypernet ??= {};

window.hypernet.shelf = (function () {
    const KEY = "hypernet.shelf";
    const RECENT = 8;
    const MANY = 500; // cards
    const PAUSE = 150; // milliseconds
    const FIRST = {used: -3, favourite: -2, recent: -1}; // CSS's `order`: no card is moved in the page
    const SORTS = ".extra-network-control--sort";
    let chosen = {first: true, "hide others": false, sort: null, ...stored()};

    function stored() {
        try {
            return JSON.parse(localStorage.getItem(KEY)) ?? {};
        } catch {
            return {};
        }
    }

    function choose(changed) {
        chosen = {...chosen, ...changed};
        try {
            localStorage.setItem(KEY, JSON.stringify(chosen));
        } catch { /* a browser that keeps nothing */ }
        hypernet.dialect.containers().forEach(apply);
    }

    /** Puts the two switches above a container's cards, once. */
    function show(container) {
        const bar = document.createElement("div");
        bar.className = "hypernet-shelf";
        bar.append(box("first"), box("hide others"));
        const place = container.closest(".extra-network-pane") ? container.parentElement : container;
        place.before(bar);
        container.addEventListener("pointerleave", () => apply(container)); // cards don't jump under the hand
        apply(container);
        sortAsBefore(container);
    }

    function box(key) {
        const label = document.createElement("label");
        const input = document.createElement("input");
        Object.assign(input, {type: "checkbox", checked: chosen[key]});
        input.dataset.key = key;
        input.addEventListener("change", () => choose({[key]: input.checked}));
        label.append(input, hypernet.texts.say(key));
        return label;
    }

    function apply(container) {
        for (const input of document.querySelectorAll(".hypernet-shelf input")) input.checked = chosen[input.dataset.key];
        container.classList.toggle("hypernet-hide-others", chosen["hide others"]);
        const ranks = chosen.first ? ranked(hypernet.dialect.tabOf(container)) : new Map();
        container.classList.toggle("hypernet-first", ranks.size > 0);
        for (const card of container.hypernetFirst ?? []) card.style.order = "";
        container.hypernetFirst = [];
        for (const [name, rank] of ranks) {
            for (const card of hypernet.cards.cardsOf(name).filter((each) => container.contains(each))) {
                card.style.order = rank;
                container.hypernetFirst.push(card);
            }
        }
    }

    /** Name -> rank of those that come first. */
    function ranked(tab) {
        const all = hypernet.catalogue.all();
        const recent = all.filter((each) => each.used).sort((one, other) => other.used - one.used).slice(0, RECENT);
        return new Map([
            ...recent.map(({name}) => [name, FIRST.recent]),
            ...all.filter((each) => each.favourite).map(({name}) => [name, FIRST.favourite]),
            ...all.filter(({name}) => hypernet.cards.isUsed(name, tab)).map(({name}) => [name, FIRST.used]),
        ]);
    }

    // The host's own sorting

    function controls(container) {
        return document.getElementById(container.id.replace(/_cards$/, "_controls"));
    }

    function sortAsBefore(container) {
        const wanted = chosen.sort;
        const row = controls(container);
        if (!wanted || !row) return;
        const button = row.querySelector(`${SORTS}[data-sortkey="${CSS.escape(wanted.key)}"]`);
        const direction = row.querySelector("[data-sortdir]");
        if (button && !button.classList.contains("extra-network-control--enabled")) button.click();
        if (direction && direction.dataset.sortdir !== wanted.direction) direction.click();
    }

    function remember(event) {
        const row = event.isTrusted && event.target.closest?.(".extra-network-control");
        if (!row || !event.target.closest(`${SORTS}, [data-sortdir]`) || !row.id.endsWith("_hypernetworks_controls")) return;
        setTimeout(() => { // when the host has done its part
            const key = row.querySelector(`${SORTS}.extra-network-control--enabled`)?.dataset.sortkey;
            const direction = row.querySelector("[data-sortdir]")?.dataset.sortdir;
            if (key && direction) choose({sort: {key, direction}});
        });
    }

    // The host's search looks through the cards of all pages at every key: among thousands it waits for a pause

    function hold(event) {
        const search = event.target;
        if (!/_hypernetworks_extra_search$/.test(search.id) || search.hypernetHeld === "passed") return;
        if (hypernet.catalogue.all().length < MANY) return;
        event.stopImmediatePropagation();
        clearTimeout(search.hypernetTimer);
        search.hypernetTimer = setTimeout(() => {
            search.hypernetHeld = "passed";
            search.dispatchEvent(new Event("input", {bubbles: true}));
            search.hypernetHeld = "";
        }, PAUSE);
    }

    function start() {
        document.addEventListener("input", hold, true);
        document.addEventListener("click", remember);
        hypernet.catalogue.whenChanged(() => hypernet.dialect.containers().forEach(apply));
    }

    return {show, start};
})();
