// The settings of the tag under the caret: by the handle at the tag, Alt+Enter or a right click. The text stays the
// truth: everything here reads the tag as it is, and each change writes it anew as one step of undo.
"use strict";

window.hypernet ??= {};

window.hypernet.popover = (function () {
    const FACTORS = ["k", "v", "self", "cross"];
    let box = null;
    let handle = null;
    let open = null; // {textarea, start}

    const tagAt = (textarea) => hypernet.tag.at(textarea.value, textarea.selectionStart);
    const current = () => hypernet.tag.at(open.textarea.value, open.start + 1);

    function write(tag) {
        const now = current();
        if (!now) return close();
        hypernet.edit.replace(open.textarea, now.start, now.end, hypernet.tag.print(tag), now.start + 1);
        fill(true);
    }

    // The handle

    function follow(event) {
        const textarea = event.target;
        if (!hypernet.dialect.promptTab(textarea)) return;
        const tag = tagAt(textarea);
        if (!tag || open) return hide();
        if (!handle) {
            handle = button("◑", () => show(handle.textarea, handle.start));
            handle.id = "hypernet_handle";
            document.body.append(handle);
        }
        const [rect] = hypernet.places.of(textarea, tag.end - 1, tag.end);
        if (!rect) return hide();
        Object.assign(handle, {textarea, start: tag.start, hidden: false, title: hypernet.texts.say("handle", tag)});
        handle.setAttribute("aria-label", handle.title);
        Object.assign(handle.style, {left: `${rect.right}px`, top: `${rect.top}px`});
    }

    function hide() {
        if (handle) handle.hidden = true;
    }

    // The box

    function show(textarea, start) {
        hide();
        open = {textarea, start};
        if (!box) {
            box = document.createElement("div");
            box.id = "hypernet_popover";
            box.setAttribute("role", "dialog");
            document.body.append(box);
        }
        box.hidden = false;
        fill();
        const tag = current();
        const [rect] = hypernet.places.of(textarea, tag.start, tag.end);
        hypernet.places.put(box, rect ?? textarea.getBoundingClientRect());
        box.querySelector("input")?.focus();
    }

    function close() {
        if (!open) return;
        const {textarea} = open;
        open = null;
        box.hidden = true;
        textarea.focus();
    }

    /** Draws the box from the tag; again after a change, with the focus where it was. */
    function fill(again = false) {
        const tag = current();
        if (!tag) return close();
        const focused = again ? document.activeElement?.dataset?.key : null;
        const facts = hypernet.catalogue.find(tag.name);
        box.setAttribute("aria-label", hypernet.texts.say("popover", tag));
        box.replaceChildren(head(tag, facts), ...strength(tag, facts), more(tag, box.querySelector("details")?.open), foot(tag));
        if (focused) box.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    }

    function head(tag, facts) {
        const head = document.createElement("header");
        const name = document.createElement("b");
        name.textContent = tag.name;
        const text = document.createElement("code");
        text.textContent = tag.text;
        head.append(name, facts && facts.base !== "unknown" ? ` ${facts.base}` : "", text);
        return head;
    }

    function strength(tag, facts) {
        const points = hypernet.tag.schedule(tag.strength || "1");
        if (points === null) return [];
        if (points.length === 1) {
            const line = number("strength", hypernet.texts.say("strength"), points[0].value, {
                low: Math.min(0, points[0].value), high: Math.max(1.5, points[0].value, facts?.range?.[1] ?? 0),
                write: (value) => write({...tag, strength: value}),
            });
            const toCurve = button(hypernet.texts.say("schedule"), () => write({
                ...tag, strength: hypernet.tag.printSchedule([{value: 0, position: 0}, {value: points[0].value, position: 1}]),
            }));
            return [line, range(points[0].value, facts?.range), toCurve];
        }
        const longest = Math.max(...points.map((point) => point.position));
        const steps = longest > 1 ? longest : 1; // positions over 1 are steps: drawn along the longest
        const curve = hypernet.curve.schedule(points.map((p) => ({...p, position: p.position / steps})), {
            range: facts?.range,
            changed: (changed) => write({...tag, strength: printed(changed, steps)}),
            live: (changed) => {
                box.querySelector("code").textContent = hypernet.tag.print({...tag, strength: printed(changed, steps)});
            },
        });
        const line = document.createElement("div");
        line.append(
            button(hypernet.texts.say("schedule.add"), () => curve.add()),
            button(hypernet.texts.say("schedule.flat"), () => write({
                ...tag, strength: hypernet.tag.short(Math.max(...points.map((point) => point.value))),
            })),
        );
        return [curve.element, line];
    }

    const printed = (points, steps) => hypernet.tag.printSchedule(
        points.map((p) => ({...p, position: steps > 1 ? Math.round(p.position * steps) : p.position})),
    );

    function range(value, useful) {
        const line = document.createElement("small");
        if (!useful) return line;
        const [low, high] = useful;
        const outside = value < low || value > high;
        line.className = outside ? "outside" : "";
        line.textContent = hypernet.texts.say(outside ? "range.outside" : "range", {low, high});
        return line;
    }

    /** A slider with a field beside it that takes any number. */
    function number(key, label, value, {low = 0, high = 2, write}) {
        const line = document.createElement("label");
        const slider = document.createElement("input");
        Object.assign(slider, {type: "range", min: low, max: high, step: 0.05, value});
        const field = document.createElement("input");
        Object.assign(field, {type: "number", step: 0.05, value: hypernet.tag.short(value)});
        slider.dataset.key = `${key}-slider`;
        field.dataset.key = key;
        slider.setAttribute("aria-label", label);
        slider.addEventListener("input", () => { field.value = hypernet.tag.short(Number(slider.value)); });
        slider.addEventListener("change", () => write(hypernet.tag.short(Number(slider.value))));
        field.addEventListener("change", () => hypernet.tag.number(field.value) !== null && write(field.value));
        line.append(label, slider, field);
        return line;
    }

    function more(tag, wasOpen) {
        const details = document.createElement("details");
        details.open = wasOpen ?? tag.options.length > 0;
        const summary = document.createElement("summary");
        summary.textContent = hypernet.texts.say("more");
        details.append(summary);
        for (const key of FACTORS) {
            const value = hypernet.tag.number(hypernet.tag.option(tag, key) ?? "1");
            if (value !== null) details.append(factor(tag, key, value, 1));
        }
        for (const [key, none] of [["start", 0], ["stop", 1]]) {
            const value = hypernet.tag.number(hypernet.tag.option(tag, key) ?? String(none));
            if (value !== null && value <= 1) details.append(factor(tag, key, value, none, 1));
        }
        const hires = hypernet.tag.number(hypernet.tag.option(tag, "hr") ?? "");
        details.append(factor(tag, "hr", hires ?? hypernet.tag.number(tag.strength) ?? 1, null));
        details.append(blocks(tag));
        return details;
    }

    /** A factor's line; `none` is the value that the tag need not carry. */
    function factor(tag, key, value, none, high = 2) {
        const line = number(key, `${key}=`, value, {
            high: Math.max(high, value),
            write: (written) => write(hypernet.tag.withOption(tag, key, Number(written) === none ? null : written)),
        });
        line.title = hypernet.texts.say(`option.${key}`);
        return line;
    }

    /** Bars for the blocks of the loaded model, or of a list that the tag has. */
    function blocks(tag) {
        const names = hypernet.catalogue.blocks?.() ?? [];
        const given = (hypernet.tag.option(tag, "lbw") ?? "").split(/[,;]/).map(hypernet.tag.number);
        const fits = given.length === names.length + 1 && !given.includes(null);
        const values = fits ? given.slice(1) : names.map(() => 1);
        return hypernet.curve.bars(names, values, (changed) => write(hypernet.tag.withOption(
            tag, "lbw", changed.every((value) => value === 1) ? null : [1, ...changed].map(hypernet.tag.short).join(","),
        )));
    }

    function foot(tag) {
        const foot = document.createElement("div"); // hosts hide every <footer>
        foot.className = "hypernet-foot";
        foot.append(
            button(hypernet.texts.say("remove"), () => {
                const {textarea} = open;
                const tab = hypernet.dialect.promptTab(textarea);
                close();
                hypernet.prompt.remove(tag.name, tab);
            }),
            button(hypernet.texts.say("done"), close),
        );
        return foot;
    }

    function button(text, action) {
        const made = document.createElement("button");
        made.type = "button";
        made.textContent = text;
        made.addEventListener("click", action);
        return made;
    }

    // What opens and closes it

    function key(event) {
        if (open && event.key === "Escape") {
            close();
        } else if (event.altKey && event.key === "Enter" && hypernet.dialect.promptTab(event.target)) {
            const tag = tagAt(event.target);
            if (!tag) return;
            show(event.target, tag.start);
        } else {
            return;
        }
        event.preventDefault();
        event.stopImmediatePropagation();
    }

    function start() {
        document.addEventListener("keydown", key, true);
        document.addEventListener("contextmenu", (event) => {
            const tag = hypernet.dialect.promptTab(event.target) && tagAt(event.target);
            if (!tag) return;
            event.preventDefault();
            show(event.target, tag.start);
        });
        document.addEventListener("pointerdown", (event) => {
            if (open && !box.contains(event.target)) close();
        });
        for (const name of ["keyup", "pointerup", "input"]) document.addEventListener(name, follow);
        document.addEventListener("scroll", hide, {capture: true, passive: true});
        document.addEventListener("focusout", (event) => {
            if (event.target !== handle && event.relatedTarget !== handle) setTimeout(hide, 200);
        });
    }

    return {close, show, start};
})();
