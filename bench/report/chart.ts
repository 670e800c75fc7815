/** A chart, independent of how it is drawn. */
export type Chart = LineChart | BarChart;

/** An axis. */
export interface Axis {
  readonly label: string;
  readonly scale?: 'linear' | 'log' | 'percentile';
  /** How a value is written; default as a number. */
  readonly unit?: 'count' | 'ms' | 's' | 'percent';
  /** Where it ends, whatever the data says. */
  readonly max?: number;
}

/** Curves over a continuous axis. */
export interface LineChart {
  readonly kind: 'lines';
  /** Says what is to be seen, as a sentence. */
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly lines: readonly Line[];
  /** A horizontal bar to be measured by. */
  readonly limit?: { readonly value: number; readonly label: string };
  /** Spans of the x axis in which something was the case. */
  readonly spans?: readonly {
    readonly from: number;
    readonly to: number;
    readonly label: string;
  }[];
}

/** One curve. */
export interface Line {
  readonly label: string;
  /** Decides the colour: the same name has the same one in every chart. */
  readonly colour: Colour;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Bars in groups. */
export interface BarChart {
  readonly kind: 'bars';
  readonly title: string;
  readonly value: Axis;
  readonly groups: readonly {
    readonly label: string;
    readonly bars: readonly {
      readonly label: string;
      readonly colour: Colour;
      readonly value: number;
    }[];
  }[];
}

/** What a colour stands for. */
export type Colour =
  | 'service-account'
  | 'pod'
  | 'token'
  | 'peer'
  | 'broker'
  | 'traced'
  | 'redis'
  | 'bare'
  | 'nginx';
