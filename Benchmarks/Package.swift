// swift-tools-version: 6.2
import PackageDescription

// A package of its own: who builds the CA does not build its load generator.
let package = Package(
    name: "upki-ca-benchmarks",
    products: [.executable(name: "bench", targets: ["bench"]), .library(name: "UnixConnect", type: .dynamic, targets: ["UnixConnect"])],
    dependencies: [.package(name: "upki-ca", path: "..")],
    targets: [
        .target(name: "CRequestMaker", linkerSettings: [.linkedLibrary("crypto")]),
        .target(name: "UnixConnect", linkerSettings: [.linkedLibrary("dl")]),
        .executableTarget(
            name: "bench",
            dependencies: [
                "CRequestMaker", .product(name: "ZeroMQ", package: "upki-ca"), .product(name: "UPKIProtocol", package: "upki-ca"),
            ],
            swiftSettings: [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]),
    ]
)
