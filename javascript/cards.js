// Cards of the Hypernetworks tab: what each shows, and what a click or a key does to it. The host's own click serves
// until the list has come. Thousands of cards are dressed a few at a time, while the browser has nothing else to do.
"use strict";

window.hypernet ??= {};

window.hypernet.cards = (function () {
    const BUTTONS = ".button-row, .actions-row, .details, .version-filter";
    const AT_ONCE = 100;
    const used = {}; // tab -> names in its prompt
    const byName = new Map(); // name -> its cards, on all tabs
    const observer = new MutationObserver((records) => dress(records.flatMap((record) => Array.from(record.addedNodes))));
    let waiting = []; // cards to dress
    let typed = {text: "", at: 0};

    // What a card shows

    /** Whether the network is in the tab's prompt. */
    const isUsed = (name, tab) => used[tab]?.has(name) ?? false;

    /** The network's cards that are on the page now. */
    function cardsOf(name) {
        const there = (byName.get(name) ?? []).filter((card) => card.isConnected);
        byName.set(name, there);
        return there;
    }

    /** Tells every card that changed whether it is in its prompt. */
    function mark() {
        for (const container of hypernet.dialect.containers()) {
            const tab = hypernet.dialect.tabOf(container);
            const now = new Set(hypernet.tag.find(hypernet.dialect.prompt(tab)?.value ?? "").map((each) => each.name));
            const before = used[tab] ?? new Set();
            used[tab] = now;
            for (const name of new Set([...before, ...now])) {
                if (before.has(name) === now.has(name)) continue;
                cardsOf(name).filter((card) => container.contains(card)).forEach((card) => press(card, now.has(name)));
            }
        }
    }

    function press(card, inside) {
        const name = hypernet.dialect.nameOf(card);
        const base = hypernet.catalogue.find(name)?.base ?? "unknown";
        card.setAttribute("aria-pressed", String(inside));
        card.setAttribute("aria-label", hypernet.texts.say(inside ? "card.used" : "card", {
            name, base: base === "unknown" ? hypernet.texts.say("base.unknown") : base,
        }));
    }

    /** Containers that are new on the page: after the start, or when the host drew the tab anew. */
    function look() {
        for (const container of hypernet.dialect.containers()) {
            if (container.hypernetSeen) continue;
            container.hypernetSeen = true;
            observer.observe(container, {childList: true});
            dress(Array.from(container.querySelectorAll(".card")));
            hypernet.shelf.show(container);
        }
        mark();
    }

    /** New cards get what they lack for keyboard, screen reader and dragging, and their line of facts. */
    function dress(nodes) {
        const fresh = nodes.filter((node) => node.classList?.contains("card") && !node.hypernetDressed);
        if (!fresh.length) return;
        for (const card of fresh) {
            card.hypernetDressed = true;
            const name = hypernet.dialect.nameOf(card);
            const others = byName.get(name);
            if (others) others.push(card);
            else byName.set(name, [card]);
        }
        later(fresh, (card) => {
            const container = card.parentElement;
            if (!container) return;
            card.classList.add("hypernet-card");
            card.setAttribute("role", "button");
            card.tabIndex = container.querySelector('.card[tabindex="0"]') ? -1 : 0; // one tab stop in each container
            card.draggable = true;
            for (const picture of card.querySelectorAll("img")) picture.draggable = false;
            describe(card);
        });
    }

    /** Does something to every card, at once for a few and in idle moments for many. */
    function later(cards, work) {
        const wasIdle = !waiting.length;
        waiting.push(...cards.map((card) => [card, work]));
        if (!wasIdle) return;
        const some = (deadline) => {
            do waiting.splice(0, AT_ONCE).forEach(([card, each]) => each(card));
            while (waiting.length && deadline.timeRemaining() > 4);
            if (waiting.length) (window.requestIdleCallback ?? setTimeout)(some);
        };
        some({timeRemaining: () => 0});
    }

    /** What the list tells of the card's file, and whether it is in the prompt. */
    function describe(card) {
        const name = hypernet.dialect.nameOf(card);
        const facts = hypernet.catalogue.find(name);
        press(card, isUsed(name, hypernet.dialect.tabOf(card)));
        if (!facts) return;
        card.classList.toggle("hypernet-broken", Boolean(facts.problem));
        card.classList.toggle("hypernet-other-base", facts.fits === false);
        card.classList.toggle("hypernet-favourite", Boolean(facts.favourite));
        card.title = facts.problem ?? "";
        part(card, "hypernet-facts", (line) => (card.querySelector(".name") ?? card).after(line))
            .textContent = facts.problem ?? summary(facts);
        const terms = card.querySelector(".additional");
        if (terms) { // what the host's search reads
            part(card, "hypernet-terms hidden search_terms", (hidden) => terms.append(hidden)).textContent =
                [...facts.words, ...facts.tags, facts.notes, facts.activation ?? "", facts.base].join(" ");
        }
    }

    /** An element of ours in the card, made when it is not there yet. */
    function part(card, classes, put) {
        let element = card.querySelector(`.${classes.split(" ")[0]}`);
        if (!element) {
            element = document.createElement("span");
            element.className = classes;
            put(element);
        }
        return element;
    }

    /** `SD1 · trained 20,000 steps · costs nothing · 84 MB` in the host's language. */
    function summary({base, steps, free, size, known}) {
        if (!known) return "…";
        return [
            base === "unknown" ? "" : base,
            steps ? hypernet.texts.say("trained", {steps: steps.toLocaleString(hypernet.dialect.language())}) : "",
            free ? hypernet.texts.say("free") : "",
            bytes(size),
        ].filter(Boolean).join(" · ");
    }

    const bytes = (size) => (size < 1e6 ? `${Math.max(Math.round(size / 1024), 1)} KB` : `${Math.round(size / 2 ** 20)} MB`);

    /** After a file was moved or converted: the page's own refresh button, then the list anew. */
    function reload(tab) {
        document.querySelector(`#${tab}_hypernetworks_extra_refresh, #${tab}_extra_refresh`)?.click();
        setTimeout(() => hypernet.catalogue.refresh(), 1000);
    }

    // What is done to a card

    /** The card that an element is in; null outside of ours. */
    function cardAt(target) {
        const card = target.closest?.(".card");
        return card?.closest(hypernet.dialect.CARDS) ? card : null;
    }

    function click(event) {
        const card = cardAt(event.target);
        if (!card || event.target.closest(BUTTONS)) return;
        const name = hypernet.dialect.nameOf(card);
        const tab = hypernet.dialect.tabOf(card);
        if (!hypernet.dialect.prompt(tab) || (!isUsed(name, tab) && !hypernet.catalogue.find(name))) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        const replace = event.ctrlKey || event.metaKey;
        toggle(card, {words: !event.shiftKey, half: event.altKey, replace});
    }

    /** Puts the card's network into the prompt, or takes it away. */
    function toggle(card, modifiers = {}) {
        const name = hypernet.dialect.nameOf(card);
        const tab = hypernet.dialect.tabOf(card);
        const inside = isUsed(name, tab);
        if (inside) hypernet.prompt.remove(name, tab);
        else hypernet.prompt.insert(name, tab, modifiers);
        mark();
        hypernet.texts.announce(hypernet.texts.say(inside ? "removed" : "added", {name}));
    }

    function key(event) {
        const card = event.target.classList?.contains("hypernet-card") ? event.target : null;
        if (!card) return;
        const moves = {
            ArrowRight: 1, ArrowLeft: -1, ArrowDown: "down", ArrowUp: "up", Home: "first", End: "last",
        };
        if (event.key === "Enter" || event.key === " ") card.dispatchEvent(clicked(event));
        else if (event.key === "F2") hypernet.dialect.edit(card);
        else if (event.key in moves && !event.ctrlKey && !event.altKey && !event.metaKey) move(card, moves[event.key]);
        else if (event.key.length === 1 && !event.ctrlKey && !event.altKey && !event.metaKey) jump(card, event.key);
        else return;
        event.preventDefault();
        event.stopPropagation();
    }

    function clicked({shiftKey, altKey, ctrlKey, metaKey}) {
        return new MouseEvent("click", {bubbles: true, cancelable: true, shiftKey, altKey, ctrlKey, metaKey});
    }

    /** The cards beside one that are not hidden, as the eye reads them. */
    function shown(card) {
        const cards = Array.from(card.parentElement.children).filter((other) => other.offsetParent);
        return cards.sort((one, other) => Number(one.style.order) - Number(other.style.order));
    }

    function move(card, where) {
        const cards = shown(card);
        const at = cards.indexOf(card);
        const goal = {first: 0, last: cards.length - 1}[where] ?? (typeof where === "number" ? at + where : row(cards, at, where));
        focus(cards[goal]);
    }

    /** The card under or above: of the next row, the one that is nearest. */
    function row(cards, at, where) {
        const here = cards[at];
        const side = where === "down" ? cards.slice(at + 1) : cards.slice(0, at).reverse();
        const top = side.find((card) => card.offsetTop !== here.offsetTop)?.offsetTop;
        const line = side.filter((card) => card.offsetTop === top);
        line.sort((a, b) => Math.abs(a.offsetLeft - here.offsetLeft) - Math.abs(b.offsetLeft - here.offsetLeft));
        return cards.indexOf(line[0]);
    }

    /** To the next card whose name begins with what was typed within a second. */
    function jump(card, letter) {
        typed = {text: (Date.now() - typed.at < 1000 ? typed.text : "") + letter.toLowerCase(), at: Date.now()};
        const cards = shown(card);
        const from = cards.indexOf(card) + (typed.text.length === 1 ? 1 : 0);
        const names = (each) => hypernet.dialect.nameOf(each).split("/").pop().toLowerCase();
        focus([...cards.slice(from), ...cards.slice(0, from)].find((each) => names(each).startsWith(typed.text)));
    }

    function focus(card) {
        if (!card) return;
        card.parentElement.querySelector('.hypernet-card[tabindex="0"]')?.setAttribute("tabindex", "-1");
        card.tabIndex = 0;
        card.focus();
    }

    function drag(event) {
        const card = cardAt(event.target);
        if (!card) return;
        const added = hypernet.prompt.additions(hypernet.dialect.nameOf(card), {words: !event.shiftKey});
        event.dataTransfer.effectAllowed = "copy";
        event.dataTransfer.setData("text/plain", [added.tag, added.words.join(", ")].filter(Boolean).join(" "));
    }

    function start() {
        document.addEventListener("click", click, true);
        document.addEventListener("keydown", key, true);
        document.addEventListener("dragstart", drag, true);
        document.addEventListener("input", (event) => hypernet.dialect.promptTab(event.target) && mark(), true);
        hypernet.catalogue.whenChanged((names) => { look(); later(names.flatMap(cardsOf), describe); });
        hypernet.dialect.whenChanged(look);
    }

    return {cardAt, cardsOf, isUsed, mark, reload, start, toggle};
})();
