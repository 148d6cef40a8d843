// The grammar of `<hypernet:NAME:STRENGTH:option=value>`: text to tags and back. hypernet/tags.py is the other half;
// tests/data/tags.json holds both to the same cases.
"use strict";

window.hypernet ??= {};

window.hypernet.tag = (function () {
    const TAG = /<hypernet:([^<>]*)>/gi;
    const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

    /** Every tag of a text: {start, end, text, name, strength, options}, in order. Linear in the length of the text. */
    function find(text) {
        return Array.from(text.matchAll(TAG), (match) => ({
            start: match.index,
            end: match.index + match[0].length,
            text: match[0],
            ...read(match[1]),
        }));
    }

    /** `ink:0.7:k=0` -> {name, strength, options}; the strength is text, options an array of [key, value]. */
    function read(inside) {
        const [name, ...rest] = inside.split(":").map((item) => item.trim());
        const options = rest.filter((item) => item.includes("=")).map((item) => {
            const at = item.indexOf("=");
            return [item.slice(0, at).trim().toLowerCase(), item.slice(at + 1).trim()];
        });
        return {name, strength: rest.find((item) => item && !item.includes("=")) ?? "", options};
    }

    /** The tag around a place in the text; null outside of all. */
    function at(text, place) {
        return find(text).find((tag) => tag.start < place && place < tag.end) ?? null;
    }

    /** {name, strength, options} -> the text of the tag. */
    function print({name, strength, options}) {
        const settings = options.map(([key, value]) => `${key}=${value}`);
        return `<hypernet:${[name, strength || "1", ...settings].join(":")}>`;
    }

    /** The tag with one option set; null or "" leaves it out. */
    function withOption(tag, key, value) {
        const others = tag.options.filter(([other]) => other !== key);
        const given = value === null || value === "" ? [] : [[key, String(value)]];
        const place = tag.options.findIndex(([other]) => other === key);
        if (place < 0) return {...tag, options: [...others, ...given]};
        return {...tag, options: [...others.slice(0, place), ...given, ...others.slice(place)]};
    }

    function option(tag, key) {
        return tag.options.find(([other]) => other === key)?.[1] ?? null;
    }

    /** A finite number; null for all else. */
    function number(text) {
        const value = NUMBER.test(String(text).trim()) ? Number(text) : NaN;
        return Number.isFinite(value) ? value : null;
    }

    /** `0@0,1@0.5` -> [{value, position}], a plain number -> one point at 0; null where it can't be read. */
    function schedule(text) {
        const plain = number(text);
        if (plain !== null) return [{value: plain, position: 0}];
        const points = String(text).split(/[,;]/).map((point) => {
            const [value, position] = point.split("@").map(number);
            return value === null || position === null || position === undefined ? null : {value, position};
        });
        return points.includes(null) ? null : points;
    }

    /** [{value, position}] -> text; one point alone is a plain number. */
    function printSchedule(points) {
        if (points.length === 1) return short(points[0].value);
        return points.map(({value, position}) => `${short(value)}@${short(position)}`).join(",");
    }

    /** At most three digits after the point, no zeros at the end. */
    function short(value) {
        return String(Number(value.toFixed(3)));
    }

    return {find, read, at, print, withOption, option, number, schedule, printSchedule, short};
})();
