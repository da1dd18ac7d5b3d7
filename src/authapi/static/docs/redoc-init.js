"use strict";

// Runs before redoc.standalone.js, because that adds its first <style> while it loads.
(function () {
  // ReDoc writes <style> elements; the policy asks for the nonce of this response on each of them. ReDoc's own
  // `nonce` option comes too late for the first two.
  const nonce = document.currentScript.nonce;
  const createElement = document.createElement;
  document.createElement = function (name, options) {
    const element = createElement.call(document, name, options);
    if (element instanceof HTMLStyleElement) {
      element.nonce = nonce;
    }
    return element;
  };

  // ReDoc loads its maker's logo from a CDN and has no option for it. No image comes from another host.
  const image = HTMLImageElement.prototype;
  image.setAttribute = function (name, value) {
    if (name.toLowerCase() === "src") {
      const url = new URL(value, document.baseURI);
      if (url.protocol !== "data:" && url.origin !== window.location.origin) {
        return;
      }
    }
    Element.prototype.setAttribute.call(this, name, value);
  };
  const src = Object.getOwnPropertyDescriptor(image, "src");
  Object.defineProperty(image, "src", {
    ...src,
    set: function (value) {
      this.setAttribute("src", value);
    },
  });

  document.addEventListener("DOMContentLoaded", function () {
    const root = document.getElementById("redoc");
    const sans = "system-ui, sans-serif";
    const options = {
      // The search runs in a worker made from a blob: address, which the policy refuses.
      disableSearch: true,
      nativeScrollbars: true,
      theme: {
        typography: {
          fontFamily: sans,
          headings: { fontFamily: sans },
          code: { fontFamily: "ui-monospace, monospace" },
        },
      },
    };
    window.Redoc.init(root.dataset.openapiUrl, options, root);
  });
})();
