import { ROOT_CONTEXT, type SpanContext, TraceFlags, trace } from '@opentelemetry/api';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import t from 'tap';
import { TraceSampling } from '../../src/telemetry/trace-sampling.ts';

// What is decided before a span is made is what the SDK decides when it makes one.

function sampled(sampler: Sampler) {
  const sampling = new TraceSampling(sampler);
  const provider = new TracerProvider({ sampler, idGenerator: sampling });
  return { sampling, tracer: provider.getTracer('test') };
}

function remote(traceFlags: TraceFlags): SpanContext {
  return {
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    spanId: '00f067aa0ba902b7',
    traceFlags,
    isRemote: true,
  };
}

t.test('the SDK records what was sampled, under the id that was drawn', async (t) => {
  for (const sampler of [
    new TraceIdRatioBasedSampler(0.5),
    new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(0.5) }),
  ]) {
    const { sampling, tracer } = sampled(sampler);
    let kept = 0;
    const ids = new Set<string>();
    for (let round = 0; round < 1_000; round += 1) {
      if (!sampling.samples(ROOT_CONTEXT)) continue;
      kept += 1;
      const span = tracer.startSpan('root', {}, ROOT_CONTEXT);
      const child = tracer.startSpan('child', {}, trace.setSpan(ROOT_CONTEXT, span));
      if (!span.isRecording() || !child.isRecording()) t.fail(`${sampler} changed its mind`);
      ids.add(span.spanContext().traceId);
    }
    t.ok(kept > 400 && kept < 600, `${kept} of 1000`);
    t.equal(ids.size, kept, 'every trace has an id of its own');
  }
});

t.test('all or nothing', async (t) => {
  t.equal(sampled(new AlwaysOnSampler()).sampling.samples(ROOT_CONTEXT), true);
  t.equal(sampled(new AlwaysOffSampler()).sampling.samples(ROOT_CONTEXT), false);
});

t.test('a parent decides where the sampler goes by it', async (t) => {
  const { sampling, tracer } = sampled(
    new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(0) }),
  );
  const yes = trace.setSpanContext(ROOT_CONTEXT, remote(TraceFlags.SAMPLED));
  const no = trace.setSpanContext(ROOT_CONTEXT, remote(TraceFlags.NONE));
  t.equal(sampling.samples(no), false);
  t.equal(sampling.samples(yes), true);
  const span = tracer.startSpan('request', {}, yes);
  t.equal(span.isRecording(), true);
  t.equal(span.spanContext().traceId, remote(TraceFlags.SAMPLED).traceId);
  t.equal(sampling.samples(ROOT_CONTEXT), false);
});
