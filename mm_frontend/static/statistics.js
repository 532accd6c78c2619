// Draws the charts from the tables beside them, in the colours of the page. Without this script the tables remain.
"use strict";

(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const drawn = new Map();

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    return {
      ink: colour("ink"), dim: colour("dim"), line: colour("line"), accent: colour("accent"), surface: colour("surface"),
      ages: ["same_day", "one_day", "two_days", "older", "unknown"].map((name) => colour(`age-${name}`)),
    };
  }

  function rows(place) {
    const found = document.getElementById(place.dataset.table).querySelectorAll("tbody tr");
    return Array.from(found, (row) => Array.from(row.querySelectorAll("[data-value]"), (cell) => cell.dataset.value));
  }

  // What the rows are called.
  function names(place) {
    const found = document.getElementById(place.dataset.table).querySelectorAll("tbody tr");
    return Array.from(found, (row) => row.cells[0].textContent.trim());
  }

  function written(number, form) {
    return new Intl.NumberFormat(document.documentElement.lang, form).format(number);
  }

  function short(number) {
    return written(number, { notation: "compact" });
  }

  function long(number) {
    return written(number, {});
  }

  // As the tables have it.
  function percent(number) {
    return `${written(100 * number, { minimumFractionDigits: 2, maximumFractionDigits: 2 })} %`;
  }

  function about(number) {
    return `${written(100 * number, { maximumFractionDigits: 2 })} %`;
  }

  // On a phone long names take two lines: cut off at once, many would look alike.
  function twoLines(name) {
    const most = 18;
    if (name.length <= most) return name;
    const end = Math.max(...[".", "-", " "].map((sign) => name.lastIndexOf(sign, most - 1))) + 1 || most;
    const rest = name.slice(end);
    return `${name.slice(0, end)}\n${rest.length > most ? `${rest.slice(0, most - 1)}…` : rest}`;
  }

  // Days as an axis has room for: with the month when they are close to each other, else months with the year.
  function dates(days) {
    const whole = days.map((day) => new Date(`${day.slice(0, 10)}T00:00Z`));
    const far = whole.length > 1 && whole[whole.length - 1] - whole[0] > 330 * 86400000;
    const form = far ? { year: "numeric", month: "short" } : { month: "short", day: "numeric" };
    const writer = new Intl.DateTimeFormat(document.documentElement.lang, { ...form, timeZone: "UTC" });
    return whole.map((day) => writer.format(day));
  }

  function common(of) {
    return {
      animation: !calm.matches,
      textStyle: { color: of.ink, fontFamily: "system-ui, sans-serif" },
      // Drawn, not made of HTML: our policy allows no style in elements.
      tooltip: { trigger: "axis", renderMode: "richText", backgroundColor: of.surface, borderColor: of.line, textStyle: { color: of.ink } },
    };
  }

  function axis(of, extra) {
    return {
      axisLine: { lineStyle: { color: of.line } },
      axisLabel: { color: of.dim },
      splitLine: { lineStyle: { color: of.line } },
      ...extra,
    };
  }

  function curve(data, of, place) {
    const days = dates(data.map((row) => row[0]));
    return {
      ...common(of),
      grid: { left: 16, right: 32, top: 28, bottom: 16, containLabel: true },
      xAxis: axis(of, {
        type: "category", boundaryGap: data.length < 3, data: names(place),
        axisLabel: { color: of.dim, hideOverlap: true, formatter: (name, number) => days[number] },
      }),
      yAxis: axis(of, { type: "value", axisLabel: { color: of.dim, formatter: short } }),
      series: [{
        type: "line", data: data.map((row) => Number(row[1])), symbolSize: 6, showSymbol: data.length < 40, showAllSymbol: true,
        color: of.accent, areaStyle: { opacity: 0.12 }, tooltip: { valueFormatter: long },
      }],
    };
  }

  // Patterns, so that nobody has to tell the colours apart.
  const PATTERNS = [
    null,
    { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 5], rotation: -Math.PI / 4 },
    { symbol: "circle", symbolSize: 0.6, dashArrayX: [[0, 8], [4, 4]], dashArrayY: [4, 0] },
    { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 3], rotation: Math.PI / 4 },
    { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [1, 6], rotation: Math.PI / 2 },
  ];

  function stack(data, of, narrow, place) {
    const days = dates(data.map((row) => row[0]));
    const heads = document.getElementById(place.dataset.table).querySelectorAll("thead th");
    const ages = of.ages.map((_, number) => heads[number + 1].textContent);
    return {
      ...common(of),
      legend: { top: 8, left: narrow ? 8 : "center", textStyle: { color: of.ink }, itemWidth: 22, itemHeight: 14 },
      grid: { left: 16, right: 20, top: narrow ? 84 : 48, bottom: 16, containLabel: true },
      // One label for each day, though it has several bars.
      xAxis: axis(of, {
        type: "category", data: names(place),
        axisLabel: {
          color: of.dim, hideOverlap: true, formatter: (name, number) => days[number],
          interval: (number) => days[number] !== days[number - 1],
        },
      }),
      yAxis: axis(of, { type: "value", minInterval: 1, axisLabel: { color: of.dim, formatter: short } }),
      series: ages.map((name, number) => ({
        type: "bar", stack: "all", name, barCategoryGap: data.length > 60 ? "0%" : "20%", data: data.map((row) => Number(row[number + 1])),
        itemStyle: { color: of.ages[number], decal: PATTERNS[number] && { color: "rgba(0, 0, 0, 0.35)", ...PATTERNS[number] } },
        tooltip: { valueFormatter: long },
      })),
    };
  }

  function bars(data, of, narrow) {
    const shown = data.slice().reverse();
    return {
      ...common(of),
      grid: { left: 16, right: 64, top: 16, bottom: 16, containLabel: true },
      xAxis: axis(of, { type: "value", splitNumber: narrow ? 3 : 5, axisLabel: { color: of.dim, formatter: about, hideOverlap: true } }),
      yAxis: axis(of, {
        type: "category", data: shown.map((row) => row[0]),
        axisLabel: narrow
          ? { color: of.ink, formatter: twoLines, lineHeight: 13, fontSize: 11 }
          : { color: of.ink, width: 300, overflow: "truncate" },
      }),
      series: [{
        type: "bar", data: shown.map((row) => Number(row[1])), color: of.accent, barMaxWidth: 22,
        label: { show: true, position: "right", color: of.ink, formatter: (bar) => percent(bar.value) },
        tooltip: { valueFormatter: percent },
      }],
    };
  }

  function draw(place) {
    const data = rows(place);
    place.hidden = false;
    const chart = drawn.get(place) || window.echarts.init(place, null, { renderer: "canvas" });
    drawn.set(place, chart);
    const of = colours();
    const most = Number(place.dataset.most);
    const narrow = place.clientWidth < 480;
    const options = { curve: () => curve(data, of, place), stack: () => stack(data, of, narrow, place), bars: () => bars(data.slice(0, most), of, narrow) };
    chart.setOption(options[place.dataset.chart](), true);
  }

  function drawAll() {
    document.querySelectorAll(".chart").forEach(draw);
  }

  if (window.echarts) {
    drawAll();
    dark.addEventListener("change", drawAll);
    window.addEventListener("resize", () => drawn.forEach((chart) => chart.resize()));
  }
})();
