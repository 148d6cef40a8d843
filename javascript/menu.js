// A card's menu: by the menu key, Shift+F10 or a right click. Everything a key held at a click does, by name.
"use strict";

window.hypernet ??= {};

window.hypernet.menu = (function () {
    let menu = null;
    let card = null; // whose menu is open

    /** What the menu offers: [key of the sentence, action]. */
    function actions(facts) {
        const name = facts.name;
        if (hypernet.cards.isUsed(name, hypernet.dialect.tabOf(card))) return [["remove", put()], ...always(facts)];
        return [
            ["menu.add", put()],
            ["menu.no words", put({words: false})],
            ["menu.half", put({half: true})],
            ["menu.replace", put({replace: true})],
            ...always(facts),
        ];
    }

    const always = (facts) => [
        [facts.favourite ? "menu.unfavourite" : "favourite", () => favour(facts)],
        ["menu.edit", (its) => hypernet.dialect.edit(its)],
    ];

    const put = (modifiers) => (its) => hypernet.cards.toggle(its, modifiers);

    async function favour({name, favourite}) {
        await hypernet.catalogue.send("favourite", {name, favourite: !favourite});
        await hypernet.catalogue.refresh();
    }

    function open(event) {
        const at = hypernet.cards.cardAt(event.target);
        const facts = at && hypernet.catalogue.find(hypernet.dialect.nameOf(at));
        if (!facts || event.shiftKey) return; // with Shift the browser's own menu
        event.preventDefault();
        card = at;
        menu ??= made();
        menu.setAttribute("aria-label", facts.name);
        menu.replaceChildren(...actions(facts).map(([key, action]) => item(key, action)));
        menu.hidden = false;
        const box = card.getBoundingClientRect();
        const byKey = event.clientX < box.left || event.clientX > box.right || (!event.clientX && !event.clientY);
        const [x, y] = byKey ? [box.left + 8, box.top + 40] : [event.clientX, event.clientY];
        hypernet.places.put(menu, new DOMRect(x, y - 4, 0, 0));
        menu.firstElementChild.focus();
    }

    function made() {
        const made = document.createElement("div");
        made.id = "hypernet_menu";
        made.setAttribute("role", "menu");
        document.body.append(made);
        return made;
    }

    function item(key, action) {
        const item = document.createElement("button");
        Object.assign(item, {type: "button", tabIndex: -1, textContent: hypernet.texts.say(key)});
        item.setAttribute("role", "menuitem");
        item.addEventListener("click", (event) => {
            event.stopPropagation();
            const its = card;
            close(true);
            Promise.resolve(action(its)).catch((error) => hypernet.texts.announce(error.message));
        });
        return item;
    }

    function close(focus = false) {
        if (!card) return;
        menu.hidden = true;
        if (focus) card.focus();
        card = null;
    }

    function key(event) {
        if (!card) return;
        const items = Array.from(menu.children);
        const at = items.indexOf(document.activeElement);
        const goal = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1}[event.key];
        if (event.key === "Escape" || event.key === "Tab") close(true);
        else if (goal !== undefined) items.at(goal % items.length).focus();
        else return;
        event.preventDefault();
        event.stopImmediatePropagation();
    }

    function start() {
        document.addEventListener("contextmenu", open);
        document.addEventListener("keydown", key, true);
        document.addEventListener("pointerdown", (event) => card && !menu.contains(event.target) && close());
        document.addEventListener("scroll", () => close(), {capture: true, passive: true});
    }

    return {start};
})();
