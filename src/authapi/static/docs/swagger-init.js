"use strict";

(function () {
  const root = document.getElementById("swagger-ui");

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const followColorScheme = function () {
    document.documentElement.classList.toggle("dark-mode", dark.matches);
  };
  dark.addEventListener("change", followColorScheme);
  followColorScheme();

  window.SwaggerUIBundle({
    domNode: root,
    url: root.dataset.openapiUrl,
    layout: "BaseLayout",
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    // A token typed into this page is gone with the page: nothing is written to the browser's storage.
    persistAuthorization: false,
    // Otherwise a link such as /docs?url=https://attacker.example/spec.json shows a foreign API as ours.
    queryConfigEnabled: false,
    // Otherwise the address of this document is sent to validator.swagger.io.
    validatorUrl: null,
    // Tags and operations keep the order of the document.
    tagsSorter: null,
    operationsSorter: null,
  });
})();
