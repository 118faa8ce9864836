import { DerError } from './der-error.ts';
import { derTags } from './tags.ts';

const millisecondsPerDay = 86_400_000;
const zero = 0x30;
const letterZ = 0x5a;

/** What can be written: from 1950 to the last second of 9999 (RFC 5280, section 4.1.2.5). */
export const timeRange = {
  earliest: Date.UTC(1950, 0, 1),
  firstGeneralized: Date.UTC(2050, 0, 1),
  latest: Date.UTC(9999, 11, 31, 23, 59, 59),
} as const;

/**
 * The contents of a UTCTime or GeneralizedTime in milliseconds since 1970: whole seconds, in UTC,
 * with `Z`, on a day that exists (X.690, 11.7 and 11.8). Years of two digits lie between 1950 and
 * 2049 (RFC 5280, section 4.1.2.5.1).
 */
export function readTime(tag: number, bytes: Buffer, start: number, end: number): number {
  const yearDigits = tag === derTags.generalizedTime ? 4 : 2;
  if (end - start !== yearDigits + 11 || bytes[end - 1] !== letterZ) throw new DerError('time');
  let year = twoDigits(bytes, start);
  if (yearDigits === 4) year = year * 100 + twoDigits(bytes, start + 2);
  else year += year < 50 ? 2000 : 1900;
  const offset = start + yearDigits;
  const month = twoDigits(bytes, offset);
  const day = twoDigits(bytes, offset + 2);
  const hour = twoDigits(bytes, offset + 4);
  const minute = twoDigits(bytes, offset + 6);
  const second = twoDigits(bytes, offset + 8);
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) throw new DerError('time');
  if (hour > 23 || minute > 59 || second > 59) throw new DerError('time');
  const seconds = hour * 3600 + minute * 60 + second;
  return daysSinceEpoch(year, month, day) * millisecondsPerDay + seconds * 1000;
}

/**
 * Writes a time as an element at `offset`: UTCTime until 2049 unless `generalized`, GeneralizedTime
 * after. Returns the offset behind it; at most 17 bytes. The time is in `timeRange`, whole seconds.
 */
export function writeTime(
  target: Buffer,
  offset: number,
  milliseconds: number,
  generalized = false,
): number {
  const { earliest, latest, firstGeneralized } = timeRange;
  if (!(milliseconds >= earliest && milliseconds <= latest) || milliseconds % 1000 !== 0) {
    throw new DerError('value', 'a time is out of range or not in whole seconds');
  }
  const days = Math.floor(milliseconds / millisecondsPerDay);
  const { year, month, day } = dateOf(days);
  const seconds = (milliseconds - days * millisecondsPerDay) / 1000;
  const long = generalized || milliseconds >= firstGeneralized;
  let place = offset;
  target[place++] = long ? derTags.generalizedTime : derTags.utcTime;
  target[place++] = long ? 15 : 13;
  if (long) place = writeTwo(target, place, Math.floor(year / 100));
  place = writeTwo(target, place, year % 100);
  place = writeTwo(target, place, month);
  place = writeTwo(target, place, day);
  place = writeTwo(target, place, Math.floor(seconds / 3600));
  place = writeTwo(target, place, Math.floor(seconds / 60) % 60);
  place = writeTwo(target, place, seconds % 60);
  target[place++] = letterZ;
  return place;
}

function twoDigits(bytes: Buffer, offset: number): number {
  const tens = bytes[offset]! - zero;
  const ones = bytes[offset + 1]! - zero;
  if (tens < 0 || tens > 9 || ones < 0 || ones > 9) throw new DerError('time');
  return tens * 10 + ones;
}

function writeTwo(target: Buffer, offset: number, value: number): number {
  target[offset] = zero + Math.floor(value / 10);
  target[offset + 1] = zero + (value % 10);
  return offset + 2;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return isLeap(year) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

function isLeap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

// Years that begin in March put the leap day last, so that months have fixed places; 400 years have
// 146,097 days. A million times of a CRL make no Date objects this way.
function daysSinceEpoch(year: number, month: number, day: number): number {
  const shifted = month > 2 ? year : year - 1;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const leapDays = Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100);
  return era * 146_097 + yearOfEra * 365 + leapDays + dayOfYear - 719_468;
}

function dateOf(daysSince1970: number): { year: number; month: number; day: number } {
  const days = daysSince1970 + 719_468;
  const era = Math.floor(days / 146_097);
  const dayOfEra = days - era * 146_097;
  const leapDays =
    Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365);
  const yearDays = 365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100);
  const dayOfYear = dayOfEra - yearDays;
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1,
  };
}
