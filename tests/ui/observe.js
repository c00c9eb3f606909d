// Runs before the scripts of each page. Records what a test asks for later: layout shifts, violations of the policy,
// how many requests are open, and when the page first had all its data.
(() => {
  const observed = { layoutShift: 0, openRequests: 0, readyAt: null, violations: [] };
  Object.defineProperty(window, '__observed', { value: observed });

  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (!entry.hadRecentInput) observed.layoutShift += entry.value;
    }
  }).observe({ type: 'layout-shift', buffered: true });

  document.addEventListener('securitypolicyviolation', (event) => {
    observed.violations.push(`${event.effectiveDirective} blocks ${event.blockedURI} ${event.sample}`);
    console.error(`content security policy: ${event.effectiveDirective} blocks ${event.blockedURI}`);
  });

  const complete = () =>
    observed.openRequests === 0 &&
    document.querySelector('h1') !== null &&
    document.querySelector('[aria-busy="true"]') === null;

  // Ready is the first moment from which nothing was missing for 100 ms: an answer often causes another request.
  let since = null;
  const look = () => {
    if (!complete()) since = null;
    else if (since === null) since = performance.now();
    else if (performance.now() - since >= 100) {
      observed.readyAt = since;
      return;
    }
    setTimeout(look, 5);
  };
  observed.restart = () => {
    since = null;
    observed.readyAt = null;
    look();
  };
  observed.restart();

  const send = window.fetch;
  window.fetch = async (...given) => {
    observed.openRequests += 1;
    try {
      return await send.apply(window, given);
    } finally {
      observed.openRequests -= 1;
    }
  };
})();
