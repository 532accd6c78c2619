// Starts Swagger UI on the description of our own API, and nothing else.
"use strict";

const place = document.getElementById("browser");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const colours = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", colours);
colours();

SwaggerUIBundle({
  domNode: place,
  url: place.dataset.description,
  validatorUrl: null, // nothing is sent to others
  deepLinking: true,
  docExpansion: "none",
  requestInterceptor: (request) => {
    if (place.dataset.csrf) request.headers["X-CSRFToken"] = place.dataset.csrf;
    return request;
  },
});
