// Where in a textarea a stretch of its text stands on the screen, by a hidden copy that breaks its lines in the same way.
"use strict";

window.hypernet ??= {};

window.hypernet.places = (function () {
    const COPIED = [
        "boxSizing", "width", "height", "borderTopWidth", "borderRightWidth", "borderBottomWidth", "borderLeftWidth",
        "borderStyle", "paddingTop", "paddingRight", "paddingBottom", "paddingLeft", "fontStyle", "fontVariant",
        "fontWeight", "fontStretch", "fontSize", "fontFamily", "lineHeight", "letterSpacing", "wordSpacing", "tabSize",
        "textAlign", "textIndent", "textTransform", "direction",
    ];

    /** The rectangles, in the window's pixels, of the text from `start` to `end`; of what is scrolled out of view, none. */
    function of(textarea, start, end) {
        const copy = document.createElement("div");
        const style = getComputedStyle(textarea);
        for (const property of COPIED) copy.style[property] = style[property];
        Object.assign(copy.style, {
            position: "absolute", visibility: "hidden", top: "0", left: "0", overflow: "hidden",
            whiteSpace: "pre-wrap", overflowWrap: "break-word",
        });
        const stretch = document.createElement("span");
        stretch.textContent = textarea.value.slice(start, end) || "\u200b";
        copy.append(textarea.value.slice(0, start), stretch, textarea.value.slice(end) || "\u200b");
        document.body.append(copy);
        const origin = copy.getBoundingClientRect();
        const box = textarea.getBoundingClientRect();
        const rects = Array.from(stretch.getClientRects(), (rect) => new DOMRect(
            rect.left - origin.left + box.left - textarea.scrollLeft,
            rect.top - origin.top + box.top - textarea.scrollTop,
            rect.width,
            rect.height,
        ));
        copy.remove();
        return rects.filter((rect) => rect.bottom > box.top && rect.top < box.bottom);
    }

    /** Moves a floating element under (or, where there is no room, above) a rectangle, inside the window. */
    function put(element, rect) {
        const {offsetWidth: width, offsetHeight: height} = element;
        const below = rect.bottom + 4;
        const top = below + height > innerHeight && rect.top - height - 4 > 0 ? rect.top - height - 4 : below;
        element.style.left = `${Math.max(4, Math.min(rect.left, innerWidth - width - 4))}px`;
        element.style.top = `${Math.max(4, top)}px`;
    }

    return {of, put};
})();
