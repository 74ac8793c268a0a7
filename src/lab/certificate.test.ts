import { X509Certificate } from 'node:crypto';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { selfSigned } from './certificate.node.ts';

const hosts = ['192.168.1.20', '127.0.0.1', 'localhost'];

it('is a certificate for the hosts, signed by itself', () => {
  const now = Date.UTC(2030, 0, 15, 12);
  const certificate = new X509Certificate(selfSigned(hosts, now).cert);
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  expect(certificate.checkIP('192.168.1.20')).toBe('192.168.1.20');
  expect(certificate.checkIP('192.168.1.21')).toBeUndefined();
  expect(certificate.checkHost('localhost')).toBe('localhost');
  expect(certificate.ca).toBe(false);
  expect(Date.parse(certificate.validFrom)).toBe(now - 86_400_000);
  expect(Date.parse(certificate.validTo)).toBe(now + 30 * 86_400_000);
  expect(certificate.serialNumber).not.toBe(new X509Certificate(selfSigned(hosts).cert).serialNumber);
});

it('is what a client that trusts it speaks TLS with, and another does not', async () => {
  const made = selfSigned(hosts);
  const server = createServer(made, (_, response) => response.end('hello'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const ask = (ca?: string) =>
    new Promise<string>((resolve, reject) => {
      request({ host: '127.0.0.1', port, ca, agent: false }, (response) => {
        response.setEncoding('utf8').on('data', resolve);
      })
        .on('error', reject)
        .end();
    });
  expect(await ask(made.cert)).toBe('hello');
  await expect(ask()).rejects.toThrow(/self-signed/);
  server.closeAllConnections();
  server.close();
});
