/** How large a chart is drawn: once for wide screens and once for phones. */
export interface Frame {
  readonly kind: 'wide' | 'narrow';
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Both ways that a chart is drawn; style sheets show one of them. Text is as large in both. */
export const FRAMES: readonly Frame[] = [
  { kind: 'wide', width: 760, height: 334, left: 68, right: 20, top: 30, bottom: 46 },
  { kind: 'narrow', width: 344, height: 294, left: 56, right: 12, top: 30, bottom: 46 },
];

/** Text as it may stand in markup. */
export function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

/** A number as it stands in a drawing: a tenth of a pixel is enough. */
export function px(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** A drawing in a frame, with a name for those who do not see it. */
export function svg(frame: Frame, name: string, content: string, height = frame.height): string {
  return (
    `<svg class="chart ${frame.kind}" viewBox="0 0 ${frame.width} ${height}" role="img" ` +
    `aria-label="${escaped(name)}">${content}</svg>`
  );
}

/** A piece of text; `anchor` says which of its ends is at the place. */
export function label(
  x: number,
  y: number,
  text: string,
  anchor: 'start' | 'middle' | 'end',
  kind = 'tick',
): string {
  return `<text class="${kind}" x="${px(x)}" y="${px(y)}" text-anchor="${anchor}">${escaped(text)}</text>`;
}
