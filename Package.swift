// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours: Swift 6 mode, and a warning is an error.
let ours: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

let x509: Target.Dependency = .product(name: "X509", package: "swift-certificates")
let asn1: Target.Dependency = .product(name: "SwiftASN1", package: "swift-asn1")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
/// RSA verification; a part of swift-crypto.
let cryptoExtras: Target.Dependency = .product(name: "_CryptoExtras", package: "swift-crypto")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let nio: [Target.Dependency] = ["NIOCore", "NIOHTTP1", "NIOPosix"].map { .product(name: $0, package: "swift-nio") }
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")

func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: ours)
}

func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, swiftSettings: ours)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = [], resources: [Resource] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: exclude, resources: resources, swiftSettings: ours)
}

/// Library targets that only tests use live beside them.
func testSupport(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, path: "Tests/\(name)", swiftSettings: ours)
}

func cLibrary(_ name: String, _ pkgConfig: String, _ package: String) -> Target {
    .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([package])])
}

let package = Package(
    name: "upki-ca",
    products: [
        .executable(name: "ca-core", targets: ["ca-core"]),
        .executable(name: "ca-registrar", targets: ["ca-registrar"]),
        .executable(name: "ca-ocsp-bridge", targets: ["ca-ocsp-bridge"]),
        .executable(name: "ca-ctl", targets: ["ca-ctl"]),
        // The benchmarks, a package of their own, speak the protocol with these.
        .library(name: "UPKIProtocol", targets: ["UPKIProtocol"]),
        .library(name: "ZeroMQ", targets: ["ZeroMQ"]),
        .library(name: "OCSPClient", targets: ["OCSPClient"]),
        .library(name: "RevocationFormats", targets: ["RevocationFormats"]),
        // Loaded into ca-core by tests of faults; it is never installed.
        .library(name: "FaultShim", type: .dynamic, targets: ["FaultShim"]),
        // The fuzzers, a package of their own too, read with these.
        .library(name: "PKI", targets: ["PKI"]),
        .library(name: "Authority", targets: ["Authority"]),
        .library(name: "Settings", targets: ["Settings"]),
        .library(name: "TestAuthority", targets: ["TestAuthority"]),
        // Preloaded into programs by tests.
        .library(name: "power-cut", type: .dynamic, targets: ["PowerCut"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-certificates", .upToNextMinor(from: "1.21.1")),
        .package(url: "https://github.com/apple/swift-asn1", .upToNextMinor(from: "1.7.4")),
        .package(url: "https://github.com/apple/swift-crypto", .upToNextMinor(from: "4.5.2")),
        .package(url: "https://github.com/apple/swift-log", .upToNextMinor(from: "1.16.2")),
        .package(url: "https://github.com/apple/swift-argument-parser", .upToNextMinor(from: "1.8.2")),
        .package(url: "https://github.com/apple/swift-nio", .upToNextMinor(from: "2.101.2")),
        .package(url: "https://github.com/groue/GRDB.swift", .upToNextMinor(from: "7.10.0")),
        .package(url: "https://github.com/jpsim/Yams", .upToNextMinor(from: "6.2.2")),
    ],
    targets: [
        // C libraries, each behind one module.
        cLibrary("COpenSSL", "libcrypto", "libssl-dev"),
        cLibrary("CZeroMQ", "libzmq", "libzmq3-dev"),
        cLibrary("CSystemd", "libsystemd", "libsystemd-dev"),
        .target(name: "CLinux"),
        .target(name: "CThreads"),

        // The rules.
        module("PKI", [asn1, x509]),
        module("RevocationFormats", [asn1]),
        module("Authority", ["PKI", "RevocationFormats", x509, asn1, crypto, cryptoExtras]),
        module("SQLiteStore", ["Authority", "PKI", "RevocationFormats", grdb]),
        module("CAKeys", ["PKI", "COpenSSL", x509, asn1]),
        module("DurableFiles"),

        // The protocol.
        module("UPKIProtocol"),
        module("Tasks", ["Authority", "UPKIProtocol", "PKI", "RevocationFormats", x509, asn1]),

        // What programs are made of.
        module("Threads", ["CThreads"]),
        module("Metrics"),
        module("ZeroMQ", ["CZeroMQ"]),
        module("Supervised", ["CLinux", "CSystemd"]),
        module("Supervision", ["CLinux", "Supervised"]),
        module("SystemdBus", ["CSystemd"]),
        module("Journal", ["CSystemd"]),
        module("CoreLink", ["Threads", "UPKIProtocol", "ZeroMQ"]),
        module("Relay", ["CLinux", "CoreLink", "ZeroMQ", "Threads", "UPKIProtocol", "Supervised"]),
        module(
            "OCSPResponder",
            ["CoreLink", "Metrics", "PKI", "RevocationFormats", "Supervised", "Threads", "UPKIProtocol", "ZeroMQ", crypto, x509, asn1] + nio
        ),
        module("OCSPClient", ["PKI", "RevocationFormats", crypto, x509, asn1]),
        module("Settings", ["PKI", yams]),
        module("ProgramLog", ["CSystemd", logging, arguments]),
        module(
            "CoreServer",
            [
                "Authority", "CAKeys", "DurableFiles", "Metrics", "PKI", "RevocationFormats", "SQLiteStore", "Settings", "Supervised",
                "Tasks", "Threads", "UPKIProtocol",
                "ZeroMQ", logging, x509, asn1, crypto,
            ]),

        module("Console", ["PKI", "UPKIProtocol"]),
        // Nodes of ours, and what stands for them elsewhere.
        module("Enrolment", ["DurableFiles", "PKI", "UPKIProtocol", "ZeroMQ", x509, asn1, crypto]),
        module("NodeLink", ["Enrolment", "PKI", "UPKIProtocol", "ZeroMQ"]),
        module(
            "Tunnel",
            ["DurableFiles", "Enrolment", "NodeLink", "PKI", "Relay", "Supervised", "Threads", "UPKIProtocol", "ZeroMQ", crypto]),
        module("AdminLink", ["CLinux", "Supervised", "UPKIProtocol", "ZeroMQ"]),

        // The programs.
        program("ca-core", ["CoreServer", "ProgramLog", "Relay", "Supervised", "UPKIProtocol", arguments, logging]),
        program("ca-registrar", ["ProgramLog", "Relay", "Supervised", arguments, logging]),
        program("ca-ocsp-bridge", ["OCSPResponder", "ProgramLog", "Supervised", arguments, logging]),

        program(
            "ca-ctl",
            [
                "AdminLink", "Console", "DurableFiles", "Enrolment", "Journal", "Metrics", "NodeLink", "OCSPClient", "PKI", "ProgramLog",
                "RevocationFormats", "Settings", "Supervised", "Supervision", "SystemdBus",
                "Threads", "Tunnel", "UPKIProtocol", "ZeroMQ", arguments, logging,
            ]),

        // Makes the manual pages at build time; it is not installed.
        program("manual-pages", ["UPKIProtocol"]),

        // A child of many bad habits, for the supervisor's tests alone; it is never installed.
        program("supervision-test-child", ["CLinux", "Supervised", "Supervision"]),

        .target(name: "FaultShim", path: "Tests/FaultShim", linkerSettings: [.linkedLibrary("dl")]),
        testSupport("InMemoryStore", ["Authority", "PKI", "RevocationFormats"]),
        testSupport("StoreContract", ["Authority", "PKI", "RevocationFormats"]),
        .target(name: "PowerCut", path: "Tests/PowerCut"),
        testSupport("TestPrograms", ["CLinux"]),
        testSupport("TestAuthority", ["Authority", "InMemoryStore", "PKI", "RevocationFormats", "TestPrograms", x509, asn1, crypto]),

        tests("AdminLinkTests", ["AdminLink", "TestPrograms", "UPKIProtocol", "ZeroMQ"]),
        tests("ArchitectureTests", ["TestPrograms"]),
        tests("AuthorityTests", ["Authority", "InMemoryStore", "PKI", "RevocationFormats", "TestAuthority", x509, asn1, crypto]),
        tests(
            "ConsoleTests",
            [
                "AdminLink", "ca-ctl", "Console", "OCSPClient", "PKI", "Settings", "Supervised", "Supervision", "TestPrograms",
                "UPKIProtocol", arguments,
            ]),
        tests(
            "CoreServerTests",
            ["Authority", "CoreServer", "PKI", "RevocationFormats", "Settings", "TestPrograms", "Threads", "UPKIProtocol", logging]),
        tests("CAKeysTests", ["CAKeys", "PKI", "TestPrograms", x509, asn1, crypto], resources: [.copy("Fixtures")]),
        tests("DurableFilesTests", ["DurableFiles", "TestPrograms"]),
        tests("EnrolmentTests", ["DurableFiles", "Enrolment", "PKI", "TestAuthority", "UPKIProtocol", "ZeroMQ", x509, crypto]),
        tests("NodeLinkTests", ["Enrolment", "NodeLink", "Threads", "UPKIProtocol", "ZeroMQ"]),
        tests(
            "IntegrationTests",
            [
                "CLinux", "OCSPClient", "RevocationFormats", "TestPrograms", "UPKIProtocol", "ca-core", "ca-ctl", "ca-ocsp-bridge",
                "ca-registrar", "manual-pages",
            ],
            exclude: ["peers"]),
        tests("MetricsTests", ["Metrics", "Threads"]),
        tests("OCSPClientTests", ["OCSPClient", "PKI", "RevocationFormats", "TestPrograms", crypto, x509, asn1]),
        tests(
            "OCSPResponderTests",
            [
                "OCSPClient", "OCSPResponder", "Metrics", "PKI", "RevocationFormats", "TestPrograms", "Threads", "UPKIProtocol", "ZeroMQ",
                "ca-ocsp-bridge", crypto, x509, asn1,
            ] + nio),
        tests("PKITests", ["PKI", "TestAuthority", x509, asn1]),
        tests("ProgramLogTests", ["ProgramLog", "Threads", logging]),
        tests("RelayTests", ["CLinux", "Relay", "Supervised", "TestPrograms", "ZeroMQ", "Threads", "UPKIProtocol", "ca-registrar"]),
        tests("RevocationFormatsTests", ["RevocationFormats", "TestPrograms", asn1]),
        tests("SettingsTests", ["Settings", "PKI"]),
        tests("SQLiteStoreTests", ["Authority", "InMemoryStore", "PKI", "SQLiteStore", "StoreContract", grdb]),
        tests(
            "TasksTests",
            ["Authority", "InMemoryStore", "PKI", "RevocationFormats", "Tasks", "TestAuthority", "UPKIProtocol", x509, crypto]),
        tests("TunnelTests", ["Enrolment", "TestAuthority", "Threads", "Tunnel", "UPKIProtocol", "ZeroMQ"]),
        tests("UPKIProtocolTests", ["UPKIProtocol"]),
        tests("ThreadsTests", ["Threads"]),
        tests("ZeroMQTests", ["ZeroMQ", "Threads"]),
        tests("SupervisionTests", ["CLinux", "Supervised", "Supervision", "TestPrograms", "supervision-test-child"]),
    ]
)
