// What the server heeds of a request's head.

import NIOCore
import NIOHTTP1

struct HTTPRequestFacts {
    enum Method { case get, head, post, other }
    enum Expectation { case none, proceed, unknown }

    let method: Method
    /// HTTP/1.0, where a connection is kept only if both sides say so.
    let isOld: Bool
    /// Whether the connection ends with the response.
    var closes: Bool
    private(set) var hosts = 0
    /// -1 where it cannot be: more than any number here.
    private(set) var contentLength: Int?
    private(set) var isOCSPRequest = false
    private(set) var expectation = Expectation.none
    /// The lists of all If-None-Match fields.
    private(set) var ifNoneMatch: String?

    init(_ head: HTTPRequestHead) {
        switch head.method {
        case .GET: self.method = .get
        case .HEAD: self.method = .head
        case .POST: self.method = .post
        default: self.method = .other
        }
        self.isOld = head.version.minor == 0
        // After a request to change the protocol the decoder reads nothing more.
        self.closes = !head.isKeepAlive || head.method == .CONNECT
        for (name, value) in head.headers { self.heed(name, value) }
    }

    private mutating func heed(_ name: String, _ value: String) {
        switch name.utf8.count {
        case 4 where Self.equal(name.utf8, "host"): self.hosts &+= 1
        case 6 where Self.equal(name.utf8, "expect"):
            self.expectation = Self.equal(value.utf8, "100-continue") ? .proceed : .unknown
        case 7 where Self.equal(name.utf8, "upgrade"): self.closes = true
        case 12 where Self.equal(name.utf8, "content-type"): self.isOCSPRequest = Self.isOCSPRequest(value)
        case 13 where Self.equal(name.utf8, "if-none-match"):
            self.ifNoneMatch = self.ifNoneMatch.map { "\($0), \(value)" } ?? value
        case 14 where Self.equal(name.utf8, "content-length"):
            // The decoder lets digits through alone.
            self.contentLength = Int(value) ?? .max
        default: break
        }
    }

    /// Compares without case; `lowercase` holds letters, digits and hyphens.
    private static func equal(_ text: some Collection<UInt8>, _ lowercase: StaticString) -> Bool {
        guard text.count == lowercase.utf8CodeUnitCount else { return false }
        return lowercase.withUTF8Buffer { expected in
            zip(text, expected).allSatisfy { given, wanted in
                given == wanted || (0x41...0x5A).contains(given) && given | 0x20 == wanted
            }
        }
    }

    /// `application/ocsp-request` in any case, with or without parameters.
    private static func isOCSPRequest(_ value: String) -> Bool {
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
        var type = value.utf8.prefix { $0 != UInt8(ascii: ";") }.drop(while: isSpace)
        while let last = type.last, isSpace(last) { type.removeLast() }
        return Self.equal(type, "application/ocsp-request")
    }
}
