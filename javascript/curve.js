// A schedule as a curve to drag, and block weights as bars. Each point and each bar is a slider for keyboard and screen
// reader; what is changed is told on release, so that it is one step of undo.
"use strict";

window.hypernet ??= {};

window.hypernet.curve = (function () {
    const [WIDTH, HEIGHT, EDGE] = [260, 110, 10];
    const SVG = "http://www.w3.org/2000/svg";

    function make(name, attributes = {}) {
        const element = document.createElementNS(SVG, name);
        for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
        return element;
    }

    const across = (position) => EDGE + position * (WIDTH - 2 * EDGE);
    const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

    /** What the curve's height stands for: 0 and the useful strengths, and whatever is further out. */
    function scale(points, range) {
        const values = [0, 1, ...(range ?? []), ...points.map((point) => point.value)];
        const [low, high] = [Math.min(...values), Math.max(...values)];
        return {
            low, high,
            up: (value) => HEIGHT - EDGE - ((value - low) / (high - low)) * (HEIGHT - 2 * EDGE),
            value: (y) => low + ((HEIGHT - EDGE - y) / (HEIGHT - 2 * EDGE)) * (high - low),
        };
    }

    /** The schedule's editor. points: [{value, position}], positions from 0 to 1; changed(points): on release. */
    function schedule(points, {range, changed, live}) {
        const svg = make("svg", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "hypernet-curve", role: "group"});
        svg.setAttribute("aria-label", hypernet.texts.say("schedule"));
        let current = [...points].sort((a, b) => a.position - b.position);

        function draw(focused = -1) {
            const {low, high, up} = scale(current, range);
            const line = [[0, current[0].value], ...current.map((p) => [p.position, p.value]), [1, current.at(-1).value]];
            const path = line.map(([position, value]) => `${across(position)},${up(value)}`).join(" ");
            const parts = [make("line", {class: "zero", x1: across(0), x2: across(1), y1: up(0), y2: up(0)})];
            if (range) {
                const [bottom, top] = range.map((value) => up(clamp(value, low, high)));
                parts.unshift(make("rect", {
                    class: "useful", x: across(0), width: across(1) - across(0), y: top, height: Math.max(bottom - top, 1),
                }));
            }
            parts.push(make("polyline", {points: path}), ...current.map((point, number) => knob(point, number, up)));
            svg.replaceChildren(...parts);
            svg.querySelectorAll("circle")[focused]?.focus();
        }

        function knob(point, number, up) {
            const circle = make("circle", {
                cx: across(point.position), cy: up(point.value), r: 7, tabindex: 0, role: "slider",
                "aria-valuenow": point.value, "aria-valuetext": hypernet.texts.say("schedule.point", {
                    number: number + 1, value: hypernet.tag.short(point.value),
                    position: `${Math.round(point.position * 100)} %`,
                }),
            });
            circle.addEventListener("pointerdown", (event) => drag(event, number));
            circle.addEventListener("keydown", (event) => key(event, number));
            return circle;
        }

        function place(number, position, value) {
            const low = current[number - 1]?.position ?? 0;
            const high = current[number + 1]?.position ?? 1;
            current = current.with(number, {
                position: clamp(Math.round(position * 100) / 100, low, high), value: Math.round(value * 100) / 100,
            });
            live(current);
        }

        function drag(event, number) {
            event.preventDefault();
            const held = scale(current, range); // the scale stays while a point is held
            const move = (moved) => {
                const box = svg.getBoundingClientRect();
                const x = ((moved.clientX - box.left) / box.width) * WIDTH;
                const y = ((moved.clientY - box.top) / box.height) * HEIGHT;
                place(number, (x - EDGE) / (WIDTH - 2 * EDGE), clamp(held.value(y), held.low, held.high));
                draw();
            };
            const release = () => {
                removeEventListener("pointermove", move);
                removeEventListener("pointerup", release);
                changed(current);
                draw(number);
            };
            addEventListener("pointermove", move);
            addEventListener("pointerup", release);
        }

        function key(event, number) {
            const {position, value} = current[number];
            const step = event.shiftKey ? 0.2 : 0.05;
            if (event.key === "ArrowUp") place(number, position, value + step);
            else if (event.key === "ArrowDown") place(number, position, value - step);
            else if (event.key === "ArrowLeft") place(number, position - step, value);
            else if (event.key === "ArrowRight") place(number, position + step, value);
            else if (event.key === "Delete" && current.length > 1) current = current.toSpliced(number, 1);
            else return;
            event.preventDefault();
            event.stopPropagation();
            changed(current);
            draw(Math.min(number, current.length - 1));
        }

        svg.addEventListener("dblclick", (event) => {
            const box = svg.getBoundingClientRect();
            const position = clamp((((event.clientX - box.left) / box.width) * WIDTH - EDGE) / (WIDTH - 2 * EDGE), 0, 1);
            add(Math.round(position * 100) / 100);
        });

        /** A further point on the line, at a position or in the widest gap. */
        function add(position = widest()) {
            current = [...current, {position, value: at(position)}].sort((a, b) => a.position - b.position);
            changed(current);
            draw(current.findIndex((point) => point.position === position));
        }

        function widest() {
            const places = [0, ...current.map((point) => point.position), 1];
            const gaps = places.slice(1).map((place, number) => place - places[number]);
            const number = gaps.indexOf(Math.max(...gaps));
            return Math.round((places[number] + gaps[number] / 2) * 100) / 100;
        }

        function at(position) {
            const after = current.findIndex((point) => point.position > position);
            if (after < 0) return current.at(-1).value;
            if (after === 0) return current[0].value;
            const [a, b] = [current[after - 1], current[after]];
            return a.value + ((b.value - a.value) * (position - a.position)) / (b.position - a.position);
        }

        draw();
        return {element: svg, add};
    }

    /** Bars for named factors. values: numbers; changed(values): on release. */
    function bars(names, values, changed) {
        const group = document.createElement("div");
        group.className = "hypernet-bars";
        group.setAttribute("role", "group");
        group.setAttribute("aria-label", hypernet.texts.say("blocks"));
        names.forEach((name, number) => {
            const bar = document.createElement("label");
            const slider = document.createElement("input");
            Object.assign(slider, {type: "range", min: 0, max: 2, step: 0.05, value: values[number]});
            const tell = () => {
                const value = hypernet.tag.short(Number(slider.value));
                slider.setAttribute("aria-valuetext", hypernet.texts.say("block", {name, value}));
                bar.title = `${name}: ${value}`;
            };
            slider.addEventListener("input", tell);
            slider.addEventListener("change", () => {
                values = values.with(number, Number(slider.value));
                changed(values);
            });
            tell();
            bar.append(slider, name);
            group.append(bar);
        });
        return group;
    }

    return {bars, schedule};
})();
