// Decisions and denials per second, as they are counted while the page is open.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { hourOf, rate, secondOf } from "./format";

export type Series = { at: number[]; decisions: (number | null)[]; denials: (number | null)[]; opens: (number | null)[] };

/** A token of the style, as the browser has it now. */
function token(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const HEIGHT = 168;

export function RatePlot({ series }: { series: Series }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(series);
  latest.current = series;
  useEffect(() => {
    const root = place.current;
    if (!root) return;
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(root.clientWidth), data(latest.current), root);
    };
    make();
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: root.clientWidth, height: HEIGHT }));
    resized.observe(root);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", make);
    return () => {
      resized.disconnect();
      scheme.removeEventListener("change", make);
      plot.current?.destroy();
    };
  }, []);
  useEffect(() => plot.current?.setData(data(series)), [series]);
  return <div ref={place} class="plot" aria-hidden="true" />;
}

function data(series: Series): uPlot.AlignedData {
  return [series.at.map((at) => at / 1000), series.decisions, series.denials, series.opens];
}

function options(width: number): uPlot.Options {
  const axis = { stroke: token("--dim"), grid: { stroke: token("--line"), width: 1 }, ticks: { show: false }, font: `11px ${token("--sans")}` };
  const line = (label: string, colour: string, dash?: number[]): uPlot.Series => ({
    label,
    stroke: token(colour),
    width: 1.5,
    points: { show: false },
    spanGaps: false,
    value: (_, value) => (value === null ? "–" : `${rate(value)}/s`),
    ...(dash ? { dash } : {}),
  });
  return {
    width,
    height: HEIGHT,
    cursor: { drag: { x: false, y: false }, y: false },
    legend: { show: false },
    scales: {
      // Of the last two minutes at least, also where nothing is known of them.
      x: { time: true, range: (_, least, most) => [Math.min(least ?? Infinity, (most ?? Date.now() / 1000) - 120), most ?? Date.now() / 1000] },
      y: { range: (_, __, most) => [0, Math.max(most * 1.1, 1)] },
    },
    axes: [
      { ...axis, size: 24, values: (_, splits, __, ___, step) => splits.map((at) => (step < 60 ? secondOf : hourOf)(at * 1000)) },
      { ...axis, size: 48, values: (_, splits) => splits.map((value) => rate(value)) },
    ],
    series: [{}, line("decisions", "--accent"), line("denials", "--red", [5, 3]), line("fail-opens", "--amber", [2, 2])],
  };
}
