{
  # In the source tree make passes both; in the npm package the wrapper lies in src and pkg-config knows the rest.
  "variables": {
    "sockref_wrapper%": "src/sockref_low_wrap.cxx",
    "sockref_cflags%": "<!(node scripts/pkg-config.js --cflags)",
    "sockref_libs%": "<!(node scripts/pkg-config.js --libs)"
  },
  "targets": [
    {
      "target_name": "sockref_low",
      "sources": [
        "<(sockref_wrapper)",
        "src/batch.cc",
        "src/conn.cc",
        "src/connect.cc",
        "src/driver_thread.cc",
        "src/driver_uv.cc",
        "src/env.cc",
        "src/errors.cc",
        "src/reads.cc",
        "src/serve.cc",
        "src/start.cc",
        "src/stats.cc",
        "src/watch.cc",
        "src/work.cc",
        "src/write.cc"
      ],
      "include_dirs": ["src", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "cflags": ["-fvisibility=hidden", "<(sockref_cflags)"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti"],
      "cflags_cc": ["-fexceptions"],
      "libraries": ["<(sockref_libs)", "-Wl,-rpath,'$$ORIGIN'"]
    }
  ]
}
