import type { Clock } from '../server/base/clock.ts';

/** A clock that goes only when it is told to. */
export class TestClock implements Clock {
  wall = Date.UTC(2030, 0, 1);

  now(): number {
    return this.wall;
  }

  monotonic(): number {
    return this.wall;
  }

  advance(seconds: number): void {
    this.wall += seconds * 1000;
  }
}
